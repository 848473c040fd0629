"""What the plans of staged releases say together: judged on the file, so that nothing hides it.

What a single setting may hold, `releases` says; a value of another shape is passed over here.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from receiver.config.table import meant
from receiver.document import Document, Path, Problem

LEAST_STAGES, MOST_STAGES = 2, 10
# Of a whole plan: health checks are asked again and again, and all of it is copied into a journal.
# Who approved decides, so a journal never drops it, however full it is: 50 are up to 50 kB there.
MOST_HEALTH_CHECKS, MOST_LINES, MOST_APPROVALS = 20, 50, 50
EVERYBODY = 100

_PLANS: Path = ("release", "plans")


def problems(document: Document) -> Iterator[Problem]:
    """Yield what is wrong with the plans of a file."""
    plans = _parts(document, _PLANS)
    if not plans:
        return
    if not document.at(("prometheus", "url")):
        text = "is missing: without it nobody can tell how a release of release.plans is doing"
        yield document.problem(("prometheus", "url"), text)
    yield from _twice(document, _texts(plans, "name"), "another plan has that name")
    for path, plan in plans:
        stages = _parts(document, (*path, "stages"))
        yield from _few_enough(document, path, plan, stages)
        yield from _stages(document, path, plan, stages)
        yield from _health_checks(document, path, stages)
        lines = (_parts(document, (*path, when)) for when in ("before", "after"))
        ids = [each for when in lines for each in _texts(when, "id")]
        yield from _twice(document, ids, "another line of the plan has that id")
    yield from _approvals(document, plans)


def _few_enough(
    document: Document, path: Path, plan: Mapping[str, Any], stages: "_Parts"
) -> Iterator[Problem]:
    checks = sum(len(_list(part.get("health_checks"))) for _, part in ((path, plan), *stages))
    if checks > MOST_HEALTH_CHECKS:
        text = f"has {checks} health checks with those of its stages: at most {MOST_HEALTH_CHECKS}"
        yield document.problem((*path, "health_checks"), text)
    lines = len(_list(plan.get("before"))) + len(_list(plan.get("after")))
    if lines > MOST_LINES:
        text = f"its checklists have {lines} lines together: at most {MOST_LINES}"
        yield document.problem(path, text)
    approvals = sum(len(_list(stage.get("approvals"))) for _, stage in stages)
    if approvals > MOST_APPROVALS:
        text = f"its stages ask for {approvals} approvals together: at most {MOST_APPROVALS}"
        yield document.problem((*path, "stages"), text)


# --- stages


def _stages(
    document: Document, path: Path, plan: Mapping[str, Any], stages: "_Parts"
) -> Iterator[Problem]:
    given = plan.get("stages")
    if not isinstance(given, list):
        return  # told already: it is missing, or no list
    if not LEAST_STAGES <= len(given) <= MOST_STAGES:
        text = f"must be {LEAST_STAGES} to {MOST_STAGES}: a canary first, everybody last"
        yield document.problem((*path, "stages"), text)
    if len(given) < LEAST_STAGES:
        return
    yield from _twice(document, _texts(stages, "name"), "another stage has that name")
    below: int | None = None
    for here, stage in stages:
        percent = stage.get("percent")
        if type(percent) is int:
            if below is not None and percent <= below:
                text = f"must be more than the {below} of the stage before"
                yield document.problem((*here, "percent"), text)
            below = percent
        yield from _ends(document, here, stage, last=here[-1] == len(given) - 1)


def _ends(
    document: Document, path: Path, stage: Mapping[str, Any], *, last: bool
) -> Iterator[Problem]:
    """Yield what only the first, only the last, or all but the last may or must have."""
    percent = stage.get("percent")
    if last and type(percent) is int and percent < EVERYBODY:
        text = f"must be {EVERYBODY} in the last stage: everybody"
        yield document.problem((*path, "percent"), text)
    if last and "soak" in stage:
        text = "has no meaning in the last stage: `watch` of the plan is its soak"
        yield document.problem((*path, "soak"), text)
    if not last and "soak" not in stage:
        yield document.problem((*path, "soak"), "is missing: for how long it has to go well")
    if path[-1] == 0 and stage.get("approvals"):
        text = "has no meaning in the first stage: nothing has soaked that could be approved"
        yield document.problem((*path, "approvals"), text)


def _health_checks(document: Document, path: Path, stages: "_Parts") -> Iterator[Problem]:
    """Yield the names that are there twice among all that is asked in one stage."""
    text = "another health check of the stage has that name"
    of_plan = list(_texts(_parts(document, (*path, "health_checks")), "name"))
    yield from _twice(document, of_plan, text)
    for where, _ in stages:
        of_stage = _texts(_parts(document, (*where, "health_checks")), "name")
        yield from _twice(document, of_stage, text, {name for _, name in of_plan})


# --- approvals


def _approvals(document: Document, plans: "_Parts") -> Iterator[Problem]:
    stages = [each for path, _ in plans for each in _parts(document, (*path, "stages"))]
    asked = [_asked(where, stage) for where, stage in stages]
    if any(asked) and document.at(("auth", "people", "kubernetes")) is None:
        text = "is missing: stages ask for approvals, and no other token has a role"
        yield document.problem(("auth", "people", "kubernetes"), text)
    roles = _mapping(document.at(("release", "roles")))
    for (where, _), named in zip(stages, asked, strict=True):
        yield from _twice(document, named, "is there twice")
        if _too_few([roles.get(name) for name in dict.fromkeys(name for _, name in named)]):
            text = "needs another person for each role, and its roles have too few users for that"
            yield document.problem((*where, "approvals"), text)
        for path, name in named:
            if name not in roles:
                text = f"there is no role {name[:80]!r}{meant(name, roles)}"
                yield document.problem(path, text)
            elif isinstance(roles[name], dict) and not any(roles[name].values()):
                text = "needs a user or a group: stages ask for its approval, and nobody has it"
                yield document.problem(("release", "roles", name), text)


def _too_few(roles: list[Any]) -> bool:
    """Return whether there are fewer people than roles, as far as the file alone tells.

    Who is in a group nobody knows here; a role without anybody is told already.
    """
    users = [_list(role.get("users")) for role in map(_mapping, roles) if not role.get("groups")]
    some = [named for named in users if named]
    return len({str(user) for named in some for user in named}) < len(some)


def _asked(path: Path, stage: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Return the roles that a stage asks, each with its path."""
    named = enumerate(_list(stage.get("approvals")))
    return [((*path, "approvals", i), name) for i, name in named if isinstance(name, str)]


# --- reading what may have any shape

_Parts = list[tuple[Path, dict[str, Any]]]


def _parts(document: Document, path: Path) -> _Parts:
    """Return the mappings of a list, each with its path."""
    found = enumerate(_list(document.at(path)))
    return [((*path, index), part) for index, part in found if isinstance(part, dict)]


def _texts(parts: _Parts, key: str) -> Iterator[tuple[Path, str]]:
    """Yield what each of the parts has there, with its path."""
    for path, part in parts:
        if isinstance(part.get(key), str):
            yield (*path, key), part[key]


def _twice(
    document: Document,
    named: Iterable[tuple[Path, str]],
    text: str,
    taken: Iterable[str] = (),
) -> Iterator[Problem]:
    """Yield a problem for each name that was there before."""
    seen = set(taken)
    for path, name in named:
        if name in seen:
            yield document.problem(path, text)
        seen.add(name)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
