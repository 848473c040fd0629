"""Where to look: the links of an alert, each safe to follow, or left out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from receiver import alerts as al
from receiver.messages import text
from receiver.messages.story import AlertLine, Site

# A silence names every label of an alert.
SILENCE = 2000

# The form of Alertmanager reads a filter with JSON strings for values, and no quoted names:
# prometheus/alertmanager ui/app/src/Utils/Filter.elm and Views/SilenceForm/Parsing.elm.
_LABEL = re.compile(r"[^\s{}!=~,\\\"'`]+")
# What Prometheus gives as the source of an alert: util/strutil TableLinkForExpression.
_GRAPH = re.compile(r"https?://[^?#]*?(/graph\?.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link that is safe to follow, under a word of ours."""

    word: str
    url: str


def links_of(alert: AlertLine, site: Site, subject: str) -> list[Link]:
    """Return the links of an alert, the most needed first."""
    found = (
        ("Runbook", text.link(alert.runbook_url)),
        ("Dashboard", text.link(alert.dashboard_url)),
        ("Graph", graph(alert.generator_url, site.prometheus_url)),
        ("Silence", silence(alert, site.alertmanager_url, subject)),
    )
    return [Link(word=word, url=url) for word, url in found if url]


def graph(url: str, base: str) -> str:
    """Return where the expression of an alert is drawn, else "".

    Prometheus may call itself by a name that only the cluster knows: `base` stands for it then.
    What is no graph of Prometheus stays as it is.
    """
    known = _GRAPH.fullmatch(url) if base and len(url) <= text.LINK else None
    return text.link(url if known is None else base.rstrip("/") + known[1])


def silence(alert: AlertLine, base: str, subject: str) -> str:
    """Return Alertmanager's form for a silence of this very alert, filled in, else "".

    When a label is not known as it was, there is none: it would silence more, or nothing.
    """
    home = text.link(base or alert.external_url).rstrip("/")
    if not (home and alert.labels and alert.firing) or "?" in home or "#" in home:
        return ""
    labels = dict(alert.labels)
    if sum(len(name) + len(value) for name, value in labels.items()) > SILENCE:
        return ""
    if _fingerprint(labels) != alert.fingerprint or not all(map(_LABEL.fullmatch, labels)):
        return ""
    matchers = (f"{name}={json.dumps(v, ensure_ascii=False)}" for name, v in labels.items())
    filled = quote("{" + ", ".join(matchers) + "}", safe="")
    comment = quote(f"rollback-receiver {text.one_line(subject, 80)}", safe="")
    return text.link(f"{home}/#/silences/new?filter={filled}&comment={comment}", SILENCE)


def _fingerprint(labels: Mapping[str, str]) -> str:
    try:
        return al.fingerprint(labels)
    except UnicodeEncodeError:  # a lone surrogate
        return ""
