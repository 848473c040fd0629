"""What the linter reads: rules and routes out of files of several kinds, each with its place.

A PrometheusRule, a plain rule file, an Alertmanager configuration or an AlertmanagerConfig; a file
may hold several documents, and those of other kinds are left alone.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from receiver import alerts as al
from receiver.document import Document, Path, Problem, load_all
from receiver.promql import Node, tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Somewhere in a file, in its document of that number."""

    file: str
    number: int
    document: Document = field(repr=False, compare=False)
    path: Path

    def below(self, *steps: str | int) -> "Place":
        """Return the place of something further in."""
        return replace(self, path=(*self.path, *steps))

    def line(self, below: Path = ()) -> int | None:
        """Return the line of what stands there, or of what it should stand in."""
        return self.document.problem((*self.path, *below), "").line


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `tree` is None where its expression cannot be read."""

    place: Place
    group: Place
    group_name: str
    index: int
    name: str
    alerts: bool
    expr: str
    tree: Node | None
    held: str
    keeps: str
    limit: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def asks(self) -> bool:
        """Return whether its alert asks for a rollback."""
        return self.alerts and rolls_back(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route, with what it inherits; `continues`: younger siblings see its alerts, too.

    `before`: the matchers of the elder routes that keep what fits them for themselves; `below`:
    those of the routes in it that lead elsewhere, for what a child has matched its parent has not.
    """

    place: Place
    receiver: str
    matchers: tuple[al.Matcher, ...]
    settings: Mapping[str, Any]
    continues: bool
    before: tuple[tuple[al.Matcher, ...], ...] = ()
    below: tuple[tuple[al.Matcher, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """An Alertmanager configuration. `http` is the global `http_config`, for who has none."""

    place: Place
    http: Mapping[str, Any]
    routes: tuple[Route, ...]
    receivers: tuple[tuple[Place, Mapping[str, Any]], ...]
    inhibits: tuple[tuple[Place, tuple[al.Matcher, ...]], ...]


@dataclass(slots=True)
class Read:
    """All that was read, and what could not be."""

    rules: list[Rule] = field(default_factory=list)
    routings: list[Routing] = field(default_factory=list)
    problems: list[tuple[str, Problem]] = field(default_factory=list)


def rolls_back(labels: Mapping[str, str]) -> bool:
    """Return whether an alert with such labels asks for a rollback, as the service reads them."""
    return al.asks(_alert(labels), ())


def word_unknown(labels: Mapping[str, str]) -> bool:
    """Return whether the label `rollback` holds a word that the service does not know."""
    given = labels.get("rollback", "").strip()
    anything = al.Matcher(label="rollback", operator="=~", value=".*")
    decided = al.asks(_alert(labels), ()) or not al.asks(_alert(labels), ((anything,),))
    return bool(given) and not decided


def _alert(labels: Mapping[str, str]) -> al.Alert:
    return al.Alert(
        status="firing",
        fingerprint="",
        labels={"rollback": labels.get("rollback", "")},
        annotations={},
        starts_at=datetime(1970, 1, 1, tzinfo=UTC),
    )


def read(texts: Mapping[str, str]) -> Read:
    """Read files, by their names."""
    found = Read()
    for name, text in texts.items():
        documents = load_all(text)
        known = [
            _document(Place(file=name, number=number, document=each, path=()), found)
            for number, each in enumerate(documents)
        ]
        problems = [(name, problem) for each in documents for problem in each.problems]
        found.problems += problems
        manifests = all(each.value.get("kind") for each in documents)
        if not any(known) and not problems and not (documents and manifests):
            kinds = "neither rules nor a configuration of Alertmanager"
            found.problems.append((name, Problem(path="", text=f"holds {kinds}")))
    return found


def _document(place: Place, found: Read) -> bool:
    value = _mapping(place.document.at(place.path))
    kind = value.get("kind")
    if isinstance(kind, str) and kind.endswith("List"):  # as `kubectl get -o yaml` writes it
        items = [place.below("items", at) for at in range(len(_list(value.get("items"))))]
        known = [_document(each, found) for each in items]
        return any(known)
    if kind == "PrometheusRule":
        found.rules += _rules(place.below("spec", "groups"))
    elif kind == "AlertmanagerConfig":
        document = Document(
            value=_deep(place.document.value),
            lines={tuple(map(_snake, path)): n for path, n in place.document.lines.items()},
        )
        inner = replace(place.below("spec"), document=document)
        # The operator puts it below a route that is not seen here.
        found.routings.append(_routing(inner, {}))
    elif kind is None and "groups" in value:
        found.rules += _rules(place.below("groups"))
    elif kind is None and "route" in value:
        found.routings.append(_routing(place, _DEFAULTS))
    else:
        return False
    return True


def _snake(step: str | int) -> str | int:
    """Write a key as Alertmanager's own file does: `groupBy` is `group_by`."""
    if isinstance(step, int):
        return step
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", step).lower()


def _deep(value: Any) -> Any:
    if isinstance(value, list):
        return [_deep(each) for each in value]
    if isinstance(value, dict):
        return {_snake(key): _deep(each) for key, each in value.items()}
    return value


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    return {name: str(each) for name, each in _mapping(value).items()}


# --- rules


def _rules(place: Place) -> Iterator[Rule]:
    """Return the rules of the groups that stand here."""
    for at, group in enumerate(_list(place.document.at(place.path))):
        here = place.below(at)
        common = _texts(_mapping(group).get("labels"))
        limit = _mapping(group).get("limit", 0)
        for index, rule in enumerate(_list(_mapping(group).get("rules"))):
            known = _mapping(rule)
            expr = str(known.get("expr", ""))
            yield Rule(
                place=here.below("rules", index),
                group=here,
                group_name=str(_mapping(group).get("name", "")),
                index=index,
                name=str(known.get("alert") or known.get("record") or ""),
                alerts="alert" in known,
                expr=expr,
                tree=_tree(expr),
                held=str(known.get("for", "")),
                keeps=str(known.get("keep_firing_for", "")),
                limit=limit if isinstance(limit, int) else 0,
                labels=common | _texts(known.get("labels")),
                annotations=_texts(known.get("annotations")),
            )


def _tree(expr: str) -> Node | None:
    try:
        return tree(expr)
    except ValueError:
        return None


# --- routes

_INHERITED = ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval")
# Of Alertmanager itself (dispatch/route.go).
_DEFAULTS = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}


def _routing(place: Place, inherited: Mapping[str, Any]) -> Routing:
    root = _mapping(place.document.at((*place.path, "route")))
    found = _route(place.below("route"), root, inherited)
    receivers = _list(place.document.at((*place.path, "receivers")))
    inhibits = _list(place.document.at((*place.path, "inhibit_rules")))
    return Routing(
        place=place,
        http=_mapping(place.document.at((*place.path, "global", "http_config"))),
        routes=tuple(found),
        receivers=tuple(
            (place.below("receivers", at), _mapping(each)) for at, each in enumerate(receivers)
        ),
        inhibits=tuple(
            (place.below("inhibit_rules", at), _matchers(_mapping(each), "target_"))
            for at, each in enumerate(inhibits)
        ),
    )


def _route(
    place: Place,
    route: Mapping[str, Any],
    inherited: Mapping[str, Any],
    before: tuple[tuple[al.Matcher, ...], ...] = (),
) -> Iterator[Route]:
    own = {name: route[name] for name in route if name not in ("routes", "matchers")}
    settings = {name: inherited[name] for name in _INHERITED if name in inherited} | own
    receiver = str(settings.get("receiver", ""))
    children = [_mapping(each) for each in _list(route.get("routes"))]
    yield Route(
        place=place,
        receiver=receiver,
        matchers=_matchers(route),
        settings=settings,
        # The root takes what is left, and the operator lets its own go on.
        continues=route.get("continue") is True or place.path[-1] == "route",
        before=before,
        below=tuple(_matchers(each) for each in children if not _leads(each, receiver, receiver)),
    )
    elder: tuple[tuple[al.Matcher, ...], ...] = ()
    for at, below in enumerate(children):
        here = place.below("routes", at)
        yield from _route(here, below, settings, before + elder)
        if below.get("continue") is not True:
            elder = (*elder, _matchers(below))


def _leads(route: Mapping[str, Any], receiver: str, inherited: str) -> bool:
    """Return whether a route, or one below it, leads to a receiver."""
    own = str(route.get("receiver") or inherited)
    below = (_mapping(each) for each in _list(route.get("routes")))
    return own == receiver or any(_leads(each, receiver, own) for each in below)


def _matchers(given: Mapping[str, Any], prefix: str = "") -> tuple[al.Matcher, ...]:
    """Return the matchers of a route or an inhibition, old and new; unreadable ones are left out.

    https://prometheus.io/docs/alerting/latest/configuration/#matcher
    """
    written: list[str] = []
    for each in _list(given.get(f"{prefix}matchers", given.get(f"{prefix}match"))):
        if not isinstance(each, dict):
            written.append(str(each))
            continue
        # Of an AlertmanagerConfig; `=~` was once `regex: true`.
        operator = each.get("match_type") or ("=~" if each.get("regex") else "=")
        written.append(f"{each.get('name')}{operator}{_quoted(each.get('value', ''))}")
    for key, equal in (("match", "="), ("match_re", "=~")):
        for label, value in _texts(given.get(prefix + key)).items():
            written.append(f"{label}{equal}{_quoted(value)}")
    found: list[al.Matcher] = []
    for text in written:
        with contextlib.suppress(ValueError):
            found += al.matchers(text)
    return tuple(found)


def _quoted(value: Any) -> str:
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
