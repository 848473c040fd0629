"""The ledger in its ConfigMap: who began to alert, what is reserved, the page of the breaker.

Every replica writes it by compare-and-set. What comes in at the same time is one write.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from receiver import ledger as lg
from receiver.alerts import text
from receiver.controller.heartbeats import Silence
from receiver.controller.ports import State
from receiver.controller.setup import KIND_LABEL, Ref, Setup
from receiver.decisions import Decision, spent
from receiver.errors import Conflict, Unavailable
from receiver.journal import Journal, Notice, subject_of
from receiver.ledger import Ledger, Opening
from receiver.messages import HEARD_AGAIN, MASS_ALERT, MASS_ALERT_OVER, NOT_EXPECTED, SILENT
from receiver.reasons import Reason, Severity
from receiver.rollout import ENABLED, Rollout

LEDGER = "rollback-receiver-ledger"
KEY = "ledger.json"
TRIES = 12
# Seconds between two counts of the Deployments that are opted in.
COUNTED_EVERY = 300.0
_NAMED = 20


class Guards:
    """The ledger, as far as this replica needs it."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lock = asyncio.Lock()
        # Targets that began to alert and are written down together, and the task that does it.
        self._beginning: set[str] = set()
        self._flushing: asyncio.Task[Ledger] | None = None
        self._opted_in = 0
        # Whether we wrote the ledger since somebody set this to False.
        self.wrote = False
        self._counted_at: float | None = None

    async def read(self) -> Ledger:
        """Read the ledger; an absent one is empty. Raises `StateUnreadable` when it is damaged."""
        return _ledger(await self._setup.cluster.read_state(LEDGER))

    async def began(self, ref: Ref) -> Ledger:
        """Write down that a target began to alert; return the ledger with all that did so far."""
        self._beginning.add(str(ref))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name="ledger")
        # One who leaves does not take the write away from the others.
        return await asyncio.shield(self._flushing)

    async def _flush(self) -> Ledger:
        async with self._lock:
            # Whoever comes from now on is written down by the next one.
            targets, self._beginning, self._flushing = self._beginning, set(), None
            breaker, now = self._setup.policy.breaker, self._setup.clock.now()
            return await self._amend(
                lambda ledger: ledger.began(targets, now, breaker, self._opted_in)
            )

    async def reserve(self, incident: str, rollout: Rollout) -> Decision | None:
        """Reserve one rollback for an incident; return the refusal when it is one too many."""
        policy, now = self._setup.policy, self._setup.clock.now()
        if not policy.budgets.per_target and not policy.budgets.per_cluster:
            return None
        refused: Decision | None = None

        def change(ledger: Ledger) -> Ledger:
            nonlocal refused
            refused = spent(rollout, incident, ledger, policy, now)
            if refused is not None:
                return ledger
            return ledger.reserve(incident, f"{rollout.namespace}/{rollout.name}", now)

        async with self._lock:
            await self._amend(change)
        return refused

    async def release(self, incident: str) -> None:
        """Give back what was reserved for an incident that ended without a patch."""
        async with self._lock:
            await self._amend(lambda ledger: ledger.release(incident))

    async def close_breaker(self) -> None:
        """Close the breaker; what it refused stays refused."""
        async with self._lock:
            await self._amend(Ledger.closed)

    async def _amend(self, change: Callable[[Ledger], Ledger]) -> Ledger:
        setup = self._setup
        for _ in range(TRIES):
            state = await setup.cluster.read_state(LEDGER)
            before = _ledger(state)
            after = change(before)
            if after == before:
                return after
            wanted = State(
                name=LEDGER,
                data={KEY: lg.dump(after)},
                labels={KIND_LABEL: "ledger"},
                version=None if state is None else state.version,
            )
            self.wrote = True
            try:
                await setup.cluster.write_state(wanted)
            except Conflict:
                await setup.clock.sleep(setup.rng.uniform(0, 0.1))
            except Unavailable as error:
                if not error.ambiguous:
                    raise
                # Every change is one that may be made twice: look what is there now.
            else:
                return after
        raise Conflict("the ledger is changed by others all the time")

    # --- how many targets there are

    async def count(self) -> None:
        """Count the Deployments that are opted in, now and then."""
        setup, now = self._setup, self._setup.clock.monotonic()
        if self._counted_at is not None and now - self._counted_at < COUNTED_EVERY:
            return
        found = [
            await setup.cluster.deployments(namespace, labels=f"{ENABLED}=true")
            for namespace in setup.namespaces or ("",)
        ]
        self._opted_in, self._counted_at = sum(map(len, found)), now


def _ledger(state: State | None) -> Ledger:
    return lg.load(None if state is None else state.data.get(KEY, ""))


# --- the one page


def told(journal: Journal, ledger: Ledger, setup: Setup) -> Journal:
    """Return the receiver's own journal as the breaker is now: one notice names all its targets.

    It is owed again when a target joins, and once more when the breaker has closed.
    """
    now, opening = setup.clock.now(), ledger.opening
    is_open = ledger.is_open(now, setup.policy.breaker)
    subject = _subject(opening) if opening is not None and is_open else ""
    sinks = setup.outbox.routes(Severity.CRITICAL)
    for notice in journal.notices:
        if notice.state == MASS_ALERT and notice.subject != subject:
            ended = replace(notice, state=MASS_ALERT_OVER, at=now)
            journal = journal.with_notice(ended).owe(notice.subject, sinks, now)
    if opening is None or not subject:
        return journal
    known = journal.notice(subject)
    notice = _notice(subject, opening, now)
    if known is not None and known.detail == notice.detail:
        return journal
    return journal.with_notice(notice).owe(subject, sinks, now)


def silence(journal: Journal, setup: Setup, watchdog: Silence) -> Journal:
    """Return the receiver's own journal as the monitoring is: silent, or heard again."""
    silent = watchdog.silent
    subject = _of_watchdog(setup, watchdog)
    known = journal.notice(subject)
    state = SILENT if silent else HEARD_AGAIN
    if silent is None or (known.state == state if known is not None else not silent):
        return journal
    now = setup.clock.now()
    said = f"no {text(setup.watchdog, 100)} for {setup.silent_after / 60:.0f} minutes from"
    notice = Notice(
        subject=subject,
        state=state,
        reason=Reason.WATCHDOG,
        severity=Severity.CRITICAL,
        at=now,
        started_at=known.started_at if known is not None and not silent else now,
        detail=f"{said} {text(', '.join(watchdog.urls), 500)}" if silent else "",
    )
    sinks = setup.outbox.routes(Severity.CRITICAL)
    return journal.with_notice(notice).owe(subject, sinks, now)


def forgotten(journal: Journal, setup: Setup, expected: Iterable[Silence]) -> Journal:
    """Return the receiver's own journal with an end of each silence that nobody waits out.

    `expected`: all Watchdogs that somebody still waits for.
    """
    known, now = {_of_watchdog(setup, watchdog) for watchdog in expected}, setup.clock.now()
    sinks = setup.outbox.routes(Severity.CRITICAL)
    for notice in journal.notices:
        if notice.state == SILENT and notice.subject not in known:
            ended = replace(notice, state=NOT_EXPECTED, at=now)
            journal = journal.with_notice(ended).owe(notice.subject, sinks, now)
    return journal


def _of_watchdog(setup: Setup, watchdog: Silence) -> str:
    return subject_of("wdg", f"{setup.installation}/{watchdog.watchdog}")


def _subject(opening: Opening) -> str:
    return subject_of("brk", opening.at.isoformat())


def _notice(subject: str, opening: Opening, now: datetime) -> Notice:
    names = ", ".join(opening.targets[:_NAMED])
    more = f" and {opening.count - _NAMED} more" if opening.count > _NAMED else ""
    return Notice(
        subject=subject,
        state=MASS_ALERT,
        reason=Reason.BREAKER_OPEN,
        severity=Severity.CRITICAL,
        at=now,
        started_at=opening.at,
        detail=text(f"{opening.count} targets: {names}{more}", 1500),
    )
