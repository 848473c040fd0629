import json
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from receiver.alerts import fingerprint, parse
from receiver.controller.remember import episode_of
from receiver.messages import AlertLine, Site
from receiver.messages.links import graph, links_of, silence
from tests.captured import scenarios
from tests.messages.stories import ALERT, FULL_ALERT, LABELS, SITE


def labelled(labels: dict[str, str]) -> AlertLine:
    return replace(FULL_ALERT, labels=tuple(labels.items()), fingerprint=fingerprint(labels))


@pytest.mark.parametrize(
    ("url", "base", "leads"),
    [
        ("http://prom-0:9090/graph?g0.expr=up", "", "http://prom-0:9090/graph?g0.expr=up"),
        (
            "http://prom-0:9090/graph?g0.expr=a+%3E+1&g0.tab=1",
            "https://prometheus.example.com",
            "https://prometheus.example.com/graph?g0.expr=a+%3E+1&g0.tab=1",
        ),
        (
            "http://prom-0:9090/inner/graph?g0.expr=up",
            "https://example.com/prometheus/",
            "https://example.com/prometheus/graph?g0.expr=up",
        ),
        (
            "https://vmalert.example.com/vmalert/alert?group_id=1",
            "https://prometheus.example.com",
            "https://vmalert.example.com/vmalert/alert?group_id=1",
        ),
        (
            "https://evil.example/graph?g0.expr=<x>|y",
            "https://prometheus.example.com",
            "https://prometheus.example.com/graph?g0.expr=%3Cx%3E%7Cy",
        ),
        ("javascript:alert(1)/graph?x", "https://prometheus.example.com", ""),
        ("", "https://prometheus.example.com", ""),
        ("http://prom:9090/graph?" + "x" * 1000, "https://prometheus.example.com", ""),
    ],
)
def test_a_graph_is_found_where_people_find_prometheus(url: str, base: str, leads: str) -> None:
    assert graph(url, base) == leads


def test_a_silence_is_filled_in_with_every_label_of_this_very_alert() -> None:
    labels = {"alertname": "Down", "path": 'C:\\"x" & é', "empty": "", "a.b": "{}=,"}
    leads = silence(labelled(labels), "https://alerts.example.com/am/", "inc-1")
    home, _, fragment = leads.partition("#")
    assert home == "https://alerts.example.com/am/"
    where = urlsplit(fragment)
    assert where.path == "/silences/new"
    asked = parse_qs(where.query, keep_blank_values=True)
    assert asked["comment"] == ["rollback-receiver inc-1"]
    matchers = asked["filter"][0].removeprefix("{").removesuffix("}").split(", ")
    read = {name: json.loads(said) for name, _, said in (m.partition("=") for m in matchers)}
    assert read == labels


def test_a_silence_is_where_alertmanager_says_it_is_unless_that_is_configured() -> None:
    assert silence(FULL_ALERT, "", "x").startswith("http://alertmanager:9093/#/silences/new?filter")
    configured = silence(FULL_ALERT, "https://alerts.example.com", "x")
    assert configured.startswith("https://alerts.example.com/#/silences/new?filter=%7Balertname%3D")


@pytest.mark.parametrize(
    "alert",
    [
        ALERT,
        replace(FULL_ALERT, firing=False),
        replace(FULL_ALERT, external_url=""),
        replace(FULL_ALERT, external_url="javascript:alert(1)"),
        replace(FULL_ALERT, external_url="https://x.example/?a=b"),
        replace(FULL_ALERT, external_url="https://x.example/#a"),
        replace(FULL_ALERT, labels=FULL_ALERT.labels[:-1]),
        replace(FULL_ALERT, labels=(("alertname", "High\ud800"),)),
        labelled(LABELS | {"odd name": "x"}),
        labelled(LABELS | {"long": "x" * 2000}),
    ],
    ids=[
        *("no labels", "resolved", "no address", "no URL", "a query", "a fragment"),
        *("labels cut", "half a character", "a name to quote", "too long"),
    ],
)
def test_a_silence_that_would_not_be_of_this_alert_is_not_offered(alert: AlertLine) -> None:
    assert silence(alert, "", "inc-1") == ""


def test_links_come_in_the_order_of_need_and_only_those_there_are() -> None:
    words = [link.word for link in links_of(FULL_ALERT, SITE, "inc-1")]
    assert words == ["Runbook", "Dashboard", "Graph", "Silence"]
    none = replace(ALERT, runbook_url="", dashboard_url="", generator_url="x")
    assert links_of(none, Site(), "inc-1") == []


def test_every_recorded_alert_can_be_silenced_unless_a_label_cannot_be_kept_as_it_is() -> None:
    odd = set()
    for one in scenarios():
        for alert in (a for body in one.bodies for a in parse(body).alerts if a.firing):
            line = replace(
                FULL_ALERT,
                labels=episode_of(alert, trouble_at=alert.starts_at, now=alert.starts_at).labels,
                fingerprint=alert.fingerprint,
                external_url=alert.external_url,
            )
            if not silence(line, "", "inc-1"):
                odd.add((one.name, alert.labels["nl"]))
    assert odd == {("39-odd-characters", "line1\nline2")}
