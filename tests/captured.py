"""What Alertmanager really sent: the recorded requests of `fixtures/alertmanager` (README there).

Bodies are the very bytes of the wire. A scenario is a story in time; a payload is one body of one.

    for t_s, headers, body in scenario("25").exchanges: ...
    parse(payload("canary-firing"))
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "fixtures" / "alertmanager"


class Exchange(NamedTuple):
    """One request, so many seconds after the start. A followed redirect has an empty body."""

    t_s: float
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What was sent in one scenario, in order. `name` is that of the file, `25-...` for one."""

    name: str
    title: str
    exchanges: tuple[Exchange, ...]

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """Return the bodies in order, without the empty ones of followed redirects."""
        return tuple(each.body for each in self.exchanges if each.body)


@cache
def scenarios() -> tuple[Scenario, ...]:
    """Return all scenarios, by number."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.json")))


def scenario(name: str) -> Scenario:
    """Return a scenario by its whole name or its number. Raises `LookupError`."""
    found = [one for one in scenarios() if name in (one.name, one.name.split("-")[0])]
    if len(found) != 1:
        raise LookupError(f"{name!r} names {len(found)} scenarios")
    return found[0]


@cache
def payloads() -> tuple[str, ...]:
    """Return the names of the plain bodies."""
    return tuple(path.stem for path in sorted((FOLDER / "payloads").glob("*.json")))


def payload(name: str) -> bytes:
    """Return one plain body. Raises `LookupError`."""
    if name not in payloads():
        raise LookupError(f"there is no payload {name!r}")
    return (FOLDER / "payloads" / f"{name}.json").read_bytes()


def _read(path: Path) -> Scenario:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return Scenario(
        name=path.stem,
        title=document["title"],
        exchanges=tuple(_exchange(each) for each in document["exchanges"]),
    )


def _exchange(document: dict[str, Any]) -> Exchange:
    request = document["request"]
    return Exchange(
        t_s=float(document["t_s"]),
        headers=tuple((name, value) for name, value in request["headers"]),
        body=request["body_raw"].encode(),
    )
