"""From a YAML file to settings, or to a list of all that is wrong with it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as File
from typing import Any

from pydantic import ValidationError

from receiver.config import plans
from receiver.config.settings import SEVERITIES, USUAL, USUAL_FALLBACK, Settings
from receiver.config.sinks import KINDS, NEVER_CRITICAL, NO_SETTING
from receiver.config.table import ONE_KIND, meant, names_beside
from receiver.document import Document, Path, Problem, load

LARGEST_FILE = 2**20


def read(path: File, *, insecure: bool = False) -> Settings | list[Problem]:
    """Read a configuration file; return the settings, or every problem found.

    Without any credential for the webhook it is refused unless `insecure` says that this is meant.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        text = raw.decode()
    except OSError as error:
        return [Problem(path="", text=f"{path}: cannot be read ({type(error).__name__})")]
    except UnicodeDecodeError:
        return [Problem(path="", text=f"{path}: is no UTF-8 text")]
    if len(raw) > LARGEST_FILE:
        return [Problem(path="", text=f"{path}: is larger than 1MiB")]
    return parse(text, insecure=insecure)


def parse(text: str, *, insecure: bool = False) -> Settings | list[Problem]:
    """Read the text of a configuration; see `read`."""
    document = load(text)
    if document.problems and not document.value:
        return document.problems
    problems = list(document.problems)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(document.value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems += [_problem(one, document) for one in found]
    problems += _across(document, insecure=insecure)
    if settings is None or problems:
        # A file is read from top to bottom, and so are its problems.
        return sorted(dict.fromkeys(problems), key=lambda each: (each.line or 0, each.path))
    return settings


# --- what one setting holds


def _problem(error: Any, document: Document) -> Problem:
    path = _path(error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden" and error["loc"][3:] in NO_SETTING:
        text = NO_SETTING[error["loc"][3:]]
    elif kind == "extra_forbidden":
        text = f"is no setting{meant(str(path[-1]), names_beside(error['loc']))}"
    elif kind == "missing":
        text = "is missing"
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        given = str(context.get("tag", ""))
        text = f"must be {ONE_KIND}{meant(given, KINDS)}"
        path = (*path, "kind")
    else:
        text = str(error["msg"]).removeprefix("Value error, ")
        text = text.replace("Input should be", "must be").replace(
            "a valid dictionary or instance of", "a mapping:"
        )
    return document.problem(path, text)


def _path(loc: tuple[str | int, ...]) -> Path:
    """Return the path in the file: pydantic adds the kind of a sink and the key of a mapping."""
    steps = list(loc)
    if steps[:2] == ["notify", "sinks"] and len(steps) > 3:  # noqa: PLR2004 - below one sink
        del steps[3]
    if steps[:2] == ["release", "roles"] and steps[3:] == ["[key]"]:
        del steps[3]
    return tuple(steps)


# --- what settings say together: judged on the file, so that nothing hides it


def _across(document: Document, *, insecure: bool) -> Iterator[Problem]:
    webhook = _mapping(document.at(("auth", "webhook")))
    credentials = (webhook.get(name) for name in ("bearer_tokens", "basic", "kubernetes"))
    if not any(credentials) and not insecure:
        text = "no credential is configured: anybody could post alerts (--insecure if you mean it)"
        yield document.problem(("auth", "webhook"), text)
    if not document.at(("kubernetes", "namespaces")):
        text = "names none: say which namespaces may be written in"
        yield document.problem(("kubernetes", "namespaces"), text)
    yield from _routes(document)
    yield from plans.problems(document)


def _routes(document: Document) -> Iterator[Problem]:
    sinks = _mapping(document.at(("notify", "sinks")))
    if not sinks:
        yield document.problem(("notify", "sinks"), "names none: nobody would hear of anything")
        return
    given = document.at(("notify", "routes"))
    routes = _mapping(given)
    for severity in SEVERITIES:
        path: Path = ("notify", "routes", severity)
        named = routes.get(severity, routes.get("default")) if given else USUAL[severity]
        if given and not isinstance(routes.get(severity, []), list):
            continue  # told already: it is no list
        known = [name for name in named or () if name in sinks]
        yield from _unknown(document, path, routes.get(severity) or (), sinks)
        on_purpose = routes.get(severity) == [] and severity != "critical"
        if (not named and not on_purpose) or (named and not known and not given):
            yield document.problem(path, f"leads to no sink: nobody would hear of {severity}")
        if severity == "critical":
            yield from _too_weak(document, path, known, sinks)
    fallback = document.at(("notify", "fallback"))
    if fallback is None or isinstance(fallback, list):
        path = ("notify", "fallback")
        yield from _unknown(document, path, fallback or (), sinks)
        named = USUAL_FALLBACK if fallback is None else fallback
        yield from _too_weak(document, path, [name for name in named if name in sinks], sinks)


def _unknown(
    document: Document, path: Path, named: Iterable[Any], sinks: Mapping[str, Any]
) -> Iterator[Problem]:
    for index, name in enumerate(named):
        if name not in sinks:
            text = f"there is no sink {str(name)[:80]!r}{meant(str(name), sinks)}"
            yield document.problem((*path, index), text)


def _too_weak(
    document: Document, path: Path, named: Iterable[str], sinks: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield a problem for each sink that critical notices cannot depend on."""
    for name in named:
        kind = str(_mapping(sinks[name]).get("kind"))
        if kind in NEVER_CRITICAL:
            text = f"{name} is of the kind {kind}, which may lose what is critical"
            yield document.problem(path, text)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
