"""The points of a story at which a replica can be killed: each write, and each message to a sink.

Seen from outside: by what the API server commits, and by what Slack and PagerDuty accept.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from receiver import journal as jn
from receiver import ledger as lg
from receiver.controller.guards import KEY as LEDGER_KEY
from receiver.controller.guards import LEDGER
from receiver.controller.memory import KEY
from receiver.controller.setup import KIND_LABEL
from receiver.journal import Journal
from receiver.ledger import Ledger
from receiver.sandbox.objects import Obj, Resource
from receiver.sandbox.status import ApiError
from tests.stage import NAME, Stage

US = "rollback-receiver"
UNDER_WAY = ("following", "verifying")
SINKS = ("prod-alerts", "pagerduty")
NEWS, OUTCOME = "the news", "the outcome"
# The news once more, from who stands in for a pager.
INSTEAD = "it instead"


@dataclass(frozen=True, slots=True)
class Point:
    """Where the story is cut: before or after a write or a message, or seconds later."""

    when: Literal["before", "after"]
    what: str
    later: float = 0.0

    def __str__(self) -> str:
        return f"{f'{self.later} s ' if self.later else ''}{self.when} {self.what}"


@dataclass(frozen=True, slots=True)
class Cut:
    """How things stood when the replica was killed."""

    at: float
    claim: str
    journal: Journal
    told: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Message:
    """What a sink accepted."""

    at: float
    sink: str
    said: str


class _Heard(list[Any]):
    """What a sink was told; `said` is asked before each message is accepted, and told after."""

    def __init__(self, said: Callable[[Any, Callable[[], None]], None]) -> None:
        super().__init__()
        self._said = said

    def append(self, message: Any) -> None:
        self._said(message, lambda: super(_Heard, self).append(message))


@dataclass
class Points:
    """Watches a story; at `at`, once, it calls `kill`. `owner`: whose claim the dead one held."""

    on: Stage
    at: Point | None = None
    kill: Callable[[], None] = lambda: None
    owner: str = ""
    seen: list[str] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    cut: Cut | None = None
    claims: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        store = self.on.sandbox.store
        commit = store._commit

        def watched(
            resource: Resource, before: Obj | None, after: Obj | None, by: str, *more: str
        ) -> Obj:
            what = _named(resource, before, after) if by == US else ""
            if not what:
                return commit(resource, before, after, by, *more)
            made: list[Obj] = []
            self._pass(what, lambda: made.append(commit(resource, before, after, by, *more)))
            if resource.kind == "ConfigMap":
                self.claims.append((self.on.clock.monotonic(), self.journal().claim))
            return made[0]

        # The one place that knows who wrote what, and has not written it yet.
        store._commit = watched  # type: ignore[method-assign, assignment] # `*more` is the rest
        self.on.people.slack = _Heard(self._slack)
        self.on.people.pages = _Heard(self._page)

    def _slack(self, told: Any, accept: Callable[[], None]) -> None:
        channel, message = told
        under_way = any(word in message["text"] for word in ("ROLLING BACK", "ROLLED BACK"))
        said = NEWS if under_way else OUTCOME
        self._tell(channel, INSTEAD if "pagerduty" in json.dumps(message) else said, accept)

    def _page(self, event: Any, accept: Callable[[], None]) -> None:
        self._tell("pagerduty", NEWS if event["event_action"] == "trigger" else OUTCOME, accept)

    def _tell(self, sink: str, said: str, accept: Callable[[], None]) -> None:
        def accepted() -> None:
            accept()
            self.heard.append(Message(self.on.clock.monotonic(), sink, said))

        self._pass(f"{sink} accepts {said}", accepted)

    def _pass(self, what: str, happen: Callable[[], None]) -> None:
        """Let something happen, and end the replica before or after that."""
        self.seen.append(what)
        here = self.at is not None and self.at.what == what and what not in self.seen[:-1]
        at = self.at if here else None
        if at is not None and at.when == "before":
            self._cut()
            raise ApiError(500, "InternalError", "nobody reads this")
        happen()
        if at is not None and at.later:
            asyncio.get_running_loop().call_later(at.later, self._cut)
        elif at is not None:
            self._cut()

    def _cut(self) -> None:
        journal = self.journal()
        told = {(t.sink, NEWS if t.state in UNDER_WAY else OUTCOME) for t in journal.told}
        self.cut = Cut(self.on.clock.monotonic(), self.owner, journal, frozenset(told))
        self.kill()

    def times(self, sink: str, said: str) -> int:
        """Return how often a sink heard something."""
        return sum((m.sink, m.said) == (sink, said) for m in self.heard)

    def taken_after(self) -> float | None:
        """Return the seconds from the cut until the journal was another replica's."""
        cut = self.cut
        if cut is None:
            return None
        others = (at for at, claim in self.claims if at > cut.at and claim not in ("", cut.claim))
        return min((at - cut.at for at in others), default=None)

    def unanswered(self, sink: str, said: str) -> bool:
        """Return whether a sink heard something of which the dead replica could note no answer.

        What it had sent by then still arrives, at that very moment of the virtual time.
        """
        cut = self.cut
        if cut is None or (sink, said) in cut.told:
            return False
        return any(m.at <= cut.at and (m.sink, m.said) == (sink, said) for m in self.heard)

    def ledger(self) -> Ledger:
        """Return the ledger as it is stored."""
        stored = self.on.sandbox.get("ConfigMap", self.on.state_namespace, LEDGER)
        return Ledger() if stored is None else lg.load(stored["data"][LEDGER_KEY])

    def journal(self) -> Journal:
        """Return the journal of the target as it is stored."""
        name = jn.name_of(self.on.namespace, NAME)
        found = self.on.sandbox.get("ConfigMap", self.on.state_namespace, name)
        return Journal() if found is None else jn.load(found["data"][KEY])


def _named(resource: Resource, before: Obj | None, after: Obj | None) -> str:
    """Name a write of the service; "" for its beats, which belong to no story."""
    if after is None:
        return ""
    if resource.kind == "Deployment":
        return "the PATCH" if before and before["spec"] != after["spec"] else "a PATCH that voids"
    if resource.kind == "Event":
        return f"the Event {after['reason']}"
    kind = after["metadata"].get("labels", {}).get(KIND_LABEL, "")
    return _CHANGES[kind](before, after) if kind in _CHANGES else ""


def _of_journal(before: Obj | None, after: Obj) -> str:
    old = Journal() if before is None else jn.load(before["data"][KEY])
    new = jn.load(after["data"][KEY])
    phases = [[i.phase.value for i in journal.incidents] for journal in (old, new)]
    if phases[0] != phases[1]:
        return f"the journal says {phases[1][-1]}"
    for told in new.told:
        if told not in old.told:
            said = NEWS if told.state in UNDER_WAY else OUTCOME
            if any(o.instead_of and o.sink == told.sink for o in old.owed):
                said = INSTEAD
            return f"the tick of {said} to {told.sink}"
    if new.claim != old.claim:
        return f"the claim is {'taken' if new.claim else 'given up'}"
    if new.episodes != old.episodes:
        return "the journal says resolved"
    for owed in new.owed:
        if owed.instead_of and not any(o.instead_of for o in old.owed):
            return f"the journal owes {owed.sink} it instead"
        if owed.attempts > max((o.attempts for o in old.owed if o.sink == owed.sink), default=0):
            return f"the journal notes a failure of {owed.sink}"
    return "another change of the journal"


def _of_ledger(before: Obj | None, after: Obj) -> str:
    old = Ledger() if before is None else lg.load(before["data"][LEDGER_KEY])
    new = lg.load(after["data"][LEDGER_KEY])
    if new.reservations != old.reservations:
        more = len(new.reservations) > len(old.reservations)
        return "the ledger reserves" if more else "the ledger is given back"
    return "the ledger counts the target"


# One more kind of ConfigMap whose writes are points is one more line here.
_CHANGES: Mapping[str, Callable[[Obj | None, Obj], str]] = MappingProxyType(
    {"journal": _of_journal, "ledger": _of_ledger}
)
