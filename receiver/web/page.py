"""The status page: a few lines of HTML, everything in them escaped."""

from collections.abc import Iterable, Mapping
from html import escape

from receiver.controller.answers import Health, Readiness

_STYLE = "body{font:16px/1.5 system-ui;margin:2rem;max-width:60rem}td{padding:0 1rem 0 0}"


def page(
    version: str, health: Health, readiness: Readiness, routes: Iterable[tuple[str, str]]
) -> str:
    """Return the page: how we are, what we depend on, and which routes there are."""
    ready = "ready" if readiness.ready else "not ready"
    title = f"rollback-receiver {escape(version)}: {escape(health.status)}, {ready}"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
        f"<h2>Dependencies</h2>{_table(health.dependencies)}"
        f"<h2>Sinks</h2>{_table(health.sinks)}"
        f"<h2>Checks</h2>{_table(readiness.checks)}"
        f"<h2>Routes</h2>{_table(dict(routes))}</html>"
    )


def _table(rows: Mapping[str, str]) -> str:
    shown = (
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>"
        for name, text in rows.items()
    )
    return f"<table>{''.join(shown)}</table>"
