"""How much is going on in the whole cluster: who began to alert, and how often we have acted. Pure.

One ConfigMap for all targets, written by compare-and-set. It decides whether the next rollback is
one too many; what became of each is in the journals.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import AwareDatetime, TypeAdapter

from receiver import versioned

VERSION = 1
# The share of all targets says something from so many on: one of three is no mass alert.
SHARE_FROM = 3
RESERVED_FOR = timedelta(days=7)
RESERVATIONS_KEPT, STARTS_KEPT, TARGETS_NAMED = 1000, 1000, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `count` rollbacks within a span."""

    count: int
    within: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """How often the automation may act: all limits hold. None of a kind: no limit."""

    per_target: tuple[Limit, ...] = (
        Limit(count=1, within=timedelta(minutes=60)),
        Limit(count=3, within=timedelta(hours=24)),
    )
    per_cluster: tuple[Limit, ...] = (Limit(count=3, within=timedelta(minutes=10)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When too many targets alert for each to be to blame.

    It opens when more than `targets`, or more than `share` of those opted in, began to alert within
    `within`; it closes when none has for `quiet`, or when a person says so.
    """

    targets: int = 5
    share: float = 0.2
    within: timedelta = timedelta(minutes=5)
    quiet: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """When a target last began to alert."""

    target: str
    at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """One rollback that is about to be, or was. It belongs to its incident: asked for once."""

    incident: str
    target: str
    at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The breaker opened. `last_at`: when the last target joined; `targets`: the first of them."""

    at: AwareDatetime
    last_at: AwareDatetime
    count: int
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What is remembered of the whole cluster."""

    version: int = VERSION
    starts: tuple[Start, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    opening: Opening | None = None

    def began(
        self, targets: Iterable[str], now: datetime, breaker: Breaker | None, opted_in: int
    ) -> "Ledger":
        """Return it with these targets beginning to alert now; that may open the breaker.

        `opted_in`: how many targets there are in all, 0 when that is not known. What another
        replica's clock has in the future counts as now: a clock that is off must not hide anybody.
        """
        fresh = set(targets)
        span = breaker.within if breaker is not None else timedelta(0)
        others = (s for s in self.starts if s.target not in fresh and now - s.at < span)
        starts = (*others, *(Start(target=target, at=now) for target in sorted(fresh)))
        after = replace(self, starts=starts[-STARTS_KEPT:])
        if breaker is None or not fresh:
            return after
        opening = self.opening if self.is_open(now, breaker) else None
        if opening is not None:
            joined = sorted(fresh - set(opening.targets))
            named = (*opening.targets, *joined)[:TARGETS_NAMED]
            count = opening.count + len(joined)
            return replace(after, opening=replace(opening, last_at=now, count=count, targets=named))
        count = len(starts)
        of_all = opted_in > 0 and count >= SHARE_FROM and count > breaker.share * opted_in
        if count <= breaker.targets and not of_all:
            return replace(after, opening=None)
        names = tuple(sorted(start.target for start in starts)[:TARGETS_NAMED])
        return replace(after, opening=Opening(at=now, last_at=now, count=count, targets=names))

    def is_open(self, now: datetime, breaker: Breaker | None) -> bool:
        """Return whether the breaker is open."""
        if breaker is None or self.opening is None:
            return False
        return now - self.opening.last_at < breaker.quiet

    def closed(self) -> "Ledger":
        """Return it with the breaker closed; who began to alert before counts no more."""
        return replace(self, opening=None, starts=())

    def spent(self, target: str, incident: str, now: datetime, budgets: Budgets) -> Limit | None:
        """Return the limit that one more rollback would exceed. An incident is not in its own way.

        Limits of the target come first.
        """
        others = [r for r in self.reservations if r.incident != incident]
        mine = [r for r in others if r.target == target]
        for limits, found in ((budgets.per_target, mine), (budgets.per_cluster, others)):
            for limit in limits:
                if sum(now - r.at < limit.within for r in found) >= limit.count:
                    return limit
        return None

    def reserve(self, incident: str, target: str, now: datetime) -> "Ledger":
        """Return it with a rollback reserved for an incident, once however often it is asked."""
        if any(r.incident == incident for r in self.reservations):
            return self
        kept = [r for r in self.reservations if now - r.at < RESERVED_FOR]
        mine = Reservation(incident=incident, target=target, at=now)
        return replace(self, reservations=(*kept[-RESERVATIONS_KEPT + 1 :], mine))

    def release(self, incident: str) -> "Ledger":
        """Return it without what was reserved for an incident that came to nothing."""
        left = tuple(r for r in self.reservations if r.incident != incident)
        return replace(self, reservations=left)


Ledger.__pydantic_config__ = versioned.STRICT  # type: ignore[attr-defined]
_LEDGER: TypeAdapter[Ledger] = TypeAdapter(Ledger)


def load(text: str | None) -> Ledger:
    """Read a ledger; None is an empty one.

    Raises `StateUnreadable` for what is damaged or of a newer version: it is kept as it is.
    """
    if text is None:
        return Ledger()
    return versioned.read(text, _LEDGER, what="ledger", versions=(VERSION,))


def dump(ledger: Ledger) -> str:
    """Write a ledger."""
    return _LEDGER.dump_json(ledger, exclude_defaults=False).decode()
