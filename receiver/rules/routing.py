"""What makes a configuration of Alertmanager unsafe on the way to a rollback: a table of checks.

Pure. What each setting does: https://prometheus.io/docs/alerting/latest/configuration, and
Alertmanager's dispatch/route.go and notify/webhook/webhook.go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from receiver import alerts as al
from receiver.rules.files import Place, Route, Routing
from receiver.rules.findings import Check, Said, table

_CONFIGURATION = "https://prometheus.io/docs/alerting/latest/configuration/"

ALERTS_PATH = "/api/v1/alerts"
LONGEST_REPEAT = timedelta(minutes=15)
LONGEST_INTERVAL = timedelta(minutes=5)
LONGEST_WAIT = timedelta(seconds=30)
_ASKING = {"rollback": "auto", "severity": "critical"}
_WHERE = ("cluster", "namespace", "deployment")
_OF_ONE = frozenset({"pod", "exported_pod", "instance", "container", "replicaset"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One webhook that leads to us."""

    place: Place
    settings: Mapping[str, Any]


def webhooks(routing: Routing) -> Iterator[tuple[str, Webhook]]:
    """Return the webhooks that lead to us, by the name of their receiver.

    An address that ends in our path, or a receiver that has "rollback" in its name.
    """
    for place, receiver in routing.receivers:
        name = str(receiver.get("name", ""))
        configs = receiver.get("webhook_configs")
        for at, each in enumerate(configs if isinstance(configs, list) else ()):
            settings = {"http_config": routing.http} | (each if isinstance(each, dict) else {})
            address = str(settings.get("url", "")).partition("?")[0].rstrip("/")
            if address.endswith(ALERTS_PATH) or "rollback" in name.lower():
                inner = place.below("webhook_configs", at)
                yield name, Webhook(place=inner, settings=settings)


def routes(routing: Routing) -> tuple[Route, ...]:
    """Return the routes that lead to us."""
    ours = {name for name, _ in webhooks(routing)}
    return tuple(route for route in routing.routes if route.receiver in ours)


# --- the whole


def no_route(routing: Routing) -> Iterator[Said]:
    """Find a configuration without a route to the service."""
    if not routes(routing):
        yield ("route",), "no route leads to the service: nothing is ever rolled back"


def inhibited(routing: Routing) -> Iterator[Said]:
    """Find an inhibition that mutes alerts which ask for a rollback."""
    for place, matchers in routing.inhibits:
        # Of what is somewhere, some ask for a rollback; of what has another label, nobody knows.
        somewhere = all(m.label in (*_ASKING, *_WHERE) for m in matchers)
        known = tuple(m for m in matchers if m.label in _ASKING)
        if matchers and somewhere and al.fits(known, _ASKING):
            text = "mutes alerts that ask for a rollback: while its source fires, none comes"
            yield place.path[len(routing.place.path) :], text


# --- a route


def repeats_late(route: Route) -> Iterator[Said]:
    """Find `repeat_interval` above 15m: what was lost comes late."""
    given = _span(route, "repeat_interval")
    if given is None or given > LONGEST_REPEAT:
        said = route.settings.get("repeat_interval", "that of a route above, which is not seen")
        text = f"repeat_interval is {said}: what is lost on the way comes again only then"
        yield ("repeat_interval",), f"{text}; 5m costs nothing, for each bad release counts once"


def grouped_late(route: Route) -> Iterator[Said]:
    """Find `group_wait` above 30s or `group_interval` above 5m."""
    for name, longest in (("group_wait", LONGEST_WAIT), ("group_interval", LONGEST_INTERVAL)):
        given = _span(route, name)
        if given is not None and given > longest:
            text = f"{name} is {route.settings[name]}: so long nothing is sent"
            yield (name,), f"{text} while a bad release serves"


def _span(route: Route, name: str) -> timedelta | None:
    try:
        return al.duration(str(route.settings[name]))
    except (KeyError, ValueError):
        return None


def _group_by(route: Route) -> list[str]:
    given = route.settings.get("group_by")
    return [str(each) for each in given] if isinstance(given, list) else []


def not_grouped(route: Route) -> Iterator[Said]:
    """Find `group_by` missing, or without `deployment`."""
    given = _group_by(route)
    if not given:
        text = "has no group_by: all alerts are one group, and each change waits group_interval"
        yield ("group_by",), f"{text}; [alertname, cluster, namespace, deployment]"
    elif "..." not in given and "deployment" not in given and not _OF_ONE & set(given):
        text = f"groups by {', '.join(given)[:80]}: Deployments share a group, and the alert of"
        yield ("group_by",), f"{text} the second waits group_interval; add deployment"


def split(route: Route) -> Iterator[Said]:
    """Find `group_by` of every label, or of one pod."""
    given = _group_by(route)
    if "..." in given:
        text = "groups by every label: a webhook for each alert, a hundred at once in bad times"
        yield ("group_by",), f"{text}; [alertname, cluster, namespace, deployment]"
    elif single := sorted(_OF_ONE & set(given)):
        yield ("group_by",), f"groups by {single[0]}: a release becomes many webhooks at once"


def stops_here(route: Route) -> Iterator[Said]:
    """Find no `continue`: nobody else hears of the alert."""
    if not route.continues:
        text = "has no `continue: true`: an alert that asks for a rollback goes to no other route"
        yield ("continue",), f"{text}, and if the service is down nobody hears of it"


def muted(route: Route) -> Iterator[Said]:
    """Find times at which nothing is sent."""
    for name in ("mute_time_intervals", "active_time_intervals"):
        if route.settings.get(name):
            text = f"has {name}: what fires meanwhile is not sent"
            yield (name,), f"{text}; use `policy.freeze`, which tells people"


def never_reached(route: Route) -> Iterator[Said]:
    """Find a route before it that keeps the alerts, or one below it that takes them elsewhere."""
    mine = _ASKING | {m.label: m.value for m in route.matchers if m.operator == "="}
    kept = (
        ("before", route.before, "move this one up"),
        ("below", route.below, "move it out, behind this one, which then needs `continue: true`"),
    )
    for where, routes_, advice in kept:
        for matchers in routes_:
            named = any(m.label == "alertname" for m in matchers)
            known = tuple(m for m in matchers if m.label in mine)
            if not named and al.fits(known, mine):
                shown = ", ".join(f"{m.label}{m.operator}{m.value}" for m in matchers)[:80]
                text = f"a route {where} it, {shown or 'without matchers'}, keeps what it fits"
                yield (), f"{text}: such alerts never come here; {advice}"
                return


# --- a webhook


def never_resolved(webhook: Webhook) -> Iterator[Said]:
    """Find `send_resolved: false`."""
    if webhook.settings.get("send_resolved") is False:
        text = "send_resolved is off: no rollback is ever seen to have helped"
        yield ("send_resolved",), text


def redirected(webhook: Webhook) -> Iterator[Said]:
    """Find `follow_redirects` not off: a silent loss."""
    if _http(webhook).get("follow_redirects") is not False:
        yield (
            ("http_config", "follow_redirects"),
            (
                "follows redirects: a 301, 302 or 303 turns the POST into a GET, and the alert is "
                "lost although Alertmanager counts it as sent"
            ),
        )


def cut(webhook: Webhook) -> Iterator[Said]:
    """Find `max_alerts`: what is cut off never comes."""
    most = webhook.settings.get("max_alerts")
    if isinstance(most, int) and most > 0:
        text = f"max_alerts is {most}: the rest of a group is cut off and counts as sent"
        yield ("max_alerts",), text


def unauthenticated(webhook: Webhook) -> Iterator[Said]:
    """Find a webhook without a credential."""
    http = _http(webhook)
    ways = ("authorization", "basic_auth", "oauth2", "bearer_token", "bearer_token_file")
    tls = http.get("tls_config")
    certified = isinstance(tls, dict) and ("cert_file" in tls or "cert" in tls)
    if not certified and not any(name in http for name in (*ways, "bearer_token_secret")):
        yield (
            ("http_config",),
            "has no credential: the service refuses it, or anybody may roll back",
        )


def rewritten(webhook: Webhook) -> Iterator[Said]:
    """Find `payload`: a body that the service cannot read."""
    if webhook.settings.get("payload"):
        yield ("payload",), "payload replaces the whole body: the service cannot read it"


def _http(webhook: Webhook) -> Mapping[str, Any]:
    found = webhook.settings.get("http_config")
    return found if isinstance(found, dict) else {}


WHOLE: tuple[Check[Routing], ...] = table(
    ("no-route", "error", "README.md#wire-alertmanager", no_route),
    ("inhibited", "error", f"{_CONFIGURATION}#inhibition-related-settings", inhibited),
)
ROUTES: tuple[Check[Route], ...] = table(
    ("repeat-interval-long", "warning", f"{_CONFIGURATION}#route", repeats_late),
    ("grouped-late", "warning", f"{_CONFIGURATION}#route", grouped_late),
    ("not-grouped", "warning", f"{_CONFIGURATION}#route", not_grouped),
    ("group-split", "warning", f"{_CONFIGURATION}#route", split),
    ("no-continue", "warning", f"{_CONFIGURATION}#route", stops_here),
    ("muted", "error", f"{_CONFIGURATION}#route", muted),
    ("never-reached", "error", f"{_CONFIGURATION}#route", never_reached),
)
WEBHOOKS: tuple[Check[Webhook], ...] = table(
    ("send-resolved-off", "error", f"{_CONFIGURATION}#webhook_config", never_resolved),
    ("redirects-followed", "error", f"{_CONFIGURATION}#http_config", redirected),
    ("alerts-cut", "error", f"{_CONFIGURATION}#webhook_config", cut),
    ("unauthenticated", "warning", f"{_CONFIGURATION}#http_config", unauthenticated),
    ("body-replaced", "error", f"{_CONFIGURATION}#webhook_config", rewritten),
)
