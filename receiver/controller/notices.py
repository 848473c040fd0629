"""What a debt of the journal says now, and what becomes of one that its sink does not take."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf
from types import MappingProxyType

from receiver.controller.memory import Memory
from receiver.controller.ports import NOTHING_HEARD, Delivery, Heard, Receipt
from receiver.controller.setup import Ref, Setup
from receiver.controller.story import story_of
from receiver.journal import OPEN, Journal, Owed
from receiver.messages import RESOLVING, Story
from receiver.reasons import Severity

# Seconds until the fallback sinks are owed what a pager has not taken; and that a pager has at
# least with this replica, which may have been handed an old debt.
FALLS_BACK_AFTER, FALLS_BACK_NOT_BEFORE = 60.0, 10.0
# How long somebody may still want to hear of it.
LASTS: Mapping[Severity, timedelta] = MappingProxyType(
    {
        Severity.CRITICAL: timedelta(hours=24),
        Severity.WARNING: timedelta(hours=6),
        Severity.INFO: timedelta(hours=2),
    }
)
EXPIRED = "not taken in time"


class Notices:
    """What is owed, as it is to be said; it changes no journal but returns what it would be."""

    def __init__(self, setup: Setup, memory: Memory) -> None:
        self._setup = setup
        self._memory = memory
        # When this replica first saw that a pager is owed something, on its monotonic clock.
        self._first_seen: dict[Ref, dict[tuple[str, str, datetime], float]] = {}

    def story(self, journal: Journal, owed: Owed) -> Story | None:
        """Return what is to be said to a sink now, None when nobody knows of the subject any more.

        A sink that stands in for another says so as long as that one has not heard the same.
        """
        setup = self._setup
        within = setup.policy.verify_within
        story = story_of(journal, owed.subject, setup.cluster_name, within, setup.site)
        if story is None:
            return None
        instead_of = owed.instead_of or self._still_instead_of(journal, owed, story)
        if not instead_of:
            return story
        debts = (o for o in journal.owed if o.subject == owed.subject)
        waiting = next((o.unheard_since for o in debts if o.sink == instead_of), None)
        told = journal.told_of(owed.subject, instead_of)
        if waiting is None and told is not None and told.state == story.state:
            return story
        since = None if waiting is None else setup.clock.now() - waiting
        return replace(story, instead_of=(instead_of,), instead_for=since)

    def _still_instead_of(self, journal: Journal, owed: Owed, story: Story) -> str:
        """Return the pager that a fallback sink stood in for, if it misses what is worse now, too.

        Else that sink would tell it twice: for itself, and for the pager.
        """
        if _is_no_worse(story) or owed.sink not in self._setup.outbox.fallbacks():
            return ""
        others = (o for o in journal.owed if o.subject == owed.subject and o.sink != owed.sink)
        return next((o.sink for o in others if o.fell_back is not None), "")

    def heard(self, ref: Ref, journal: Journal, owed: Owed) -> Heard:
        """Return what a sink has heard of the subject of a debt."""
        told = journal.told_of(owed.subject, owed.sink)
        heard = Heard(state=told.state, mark=told.mark) if told is not None else NOTHING_HEARD
        doubt = owed.doubt
        if doubt is None and self._memory.unsure(ref, owed):
            # Whoever owed it before us may have sent it, and died.
            doubt = owed.unheard_since
        return replace(heard, doubt=doubt)

    def speaks_of(self, owed: Owed, story: Story, heard: Heard) -> bool:
        """Return whether a sink has anything to say of it, after what it has heard."""
        outbox = self._setup.outbox
        if story.instead_of and story.state not in RESOLVING:
            return True
        known = heard.state or heard.doubt is not None
        if owed.instead_of and not known and owed.sink not in outbox.routes(story.severity):
            return False
        if story.tally and story.state not in RESOLVING:
            # A bundle is owed again because it has grown: what was heard of it is not all.
            heard = replace(heard, state="")
        return outbox.speaks_of(owed.sink, story, heard)

    def ended(self, journal: Journal, owed: Owed, state: str) -> Journal:
        """Return a journal that owes a pager the end once more, if it took `state` after that.

        A replica that was stopped, or sent by a slow way, may be told of only by itself: that
        another one had gone on, and had closed what this page has opened again. Others hear the end
        once: what they have shows the last of it, or cannot be changed.
        """
        if not self._setup.outbox.pages(owed.sink):
            return journal
        told, now = journal.told_of(owed.subject, owed.sink), self._setup.clock.now()
        if told is None or told.state not in RESOLVING or state in RESOLVING:
            return journal
        if told.at < owed.since or any(o.key == owed.key for o in journal.owed):
            return journal
        again = Owed(subject=owed.subject, sink=owed.sink, since=now, doubt=now)
        return replace(journal, owed=(*journal.owed, again))

    # --- given up

    def given_up(self, journal: Journal, owed: Owed, receipt: Receipt, *, mine: bool) -> str:
        """Return why a debt is given up, "" when it is not.

        `receipt` is what the sink answered, to this very debt if it is `mine`.
        """
        story = self.story(journal, owed)
        if receipt.delivery is Delivery.GONE or (mine and receipt.delivery is Delivery.REJECTED):
            return receipt.detail or receipt.delivery.value
        if story is None:
            return ""
        return EXPIRED if self._setup.clock.now() - owed.since > LASTS[story.severity] else ""

    def buried(self, journal: Journal, owed: Owed, why: str) -> Journal:
        """Return a journal with a debt given up: noted, and a critical one told by others."""
        story, now = self.story(journal, owed), self._setup.clock.now()
        if story is None:
            return journal.tick(owed, None, now)
        journal = self.instead(journal, owed, dead=True)
        return journal.give_up(owed, story.state, story.severity, why, now)

    # --- told by others instead

    def late(self, ref: Ref, journal: Journal) -> tuple[list[Owed], float]:
        """Return what a pager has not taken in time, and the seconds until the next such debt.

        Without any there is nothing to wait for.

        Time is measured by the wall clock, for a debt outlives who owes it; and, since the clocks
        of two replicas may differ, by how long this one has seen it.
        """
        clock, outbox = self._setup.clock, self._setup.outbox
        now, monotonic = clock.now(), clock.monotonic()
        before = self._first_seen.pop(ref, {})
        seen: dict[tuple[str, str, datetime], float] = {}
        late, wait = [], inf
        for owed in journal.owed:
            fell_back = owed.fell_back == owed.since
            if owed.instead_of or fell_back or not outbox.pages(owed.sink):
                continue
            key = (owed.subject, owed.sink, owed.unheard_since)
            seen[key] = before.get(key, monotonic)
            known_for = monotonic - seen[key]
            age = max((now - owed.unheard_since).total_seconds(), known_for)
            left = max(FALLS_BACK_AFTER - age, FALLS_BACK_NOT_BEFORE - known_for)
            if left > 0:
                wait = min(wait, left)
            elif self._has_to_be_said(ref, journal, owed):
                late.append(owed)
        if seen:
            self._first_seen[ref] = seen
        return late, wait

    def forget(self, ref: Ref) -> None:
        """Let go of what is kept of a journal."""
        self._first_seen.pop(ref, None)

    def _has_to_be_said(self, ref: Ref, journal: Journal, owed: Owed) -> bool:
        story = self.story(journal, owed)
        if story is None or self.instead(journal, owed) == journal:
            return False
        return self.speaks_of(owed, story, self.heard(ref, journal, owed))

    def instead(self, journal: Journal, owed: Owed, *, dead: bool = False) -> Journal:
        """Return a journal that owes the fallback sinks what one has not taken, if it is grave.

        Once for each state, and never to the failing sink itself; of a later state only to those
        that will not hear of it anyway. `dead`: it never will take it; then that holds for a sink
        that pages nobody, too, as far as the others have not heard the same.
        """
        story, outbox = self.story(journal, owed), self._setup.outbox
        pages = outbox.pages(owed.sink)
        if story is None or owed.instead_of or not (pages or dead):
            return journal
        again = owed.fell_back is not None
        if owed.fell_back == owed.since:
            return journal
        if story.severity is not Severity.CRITICAL or story.state in RESOLVING:
            return journal
        same = (owed.subject, story.state)
        heard = {told.sink for told in journal.told if (told.subject, told.state) == same}
        if again:
            # These say it by themselves, and of what is worse that they stand in.
            heard |= {o.sink for o in journal.owed if o.subject == owed.subject}
        sinks = [
            sink
            for sink in outbox.fallbacks()
            if sink != owed.sink and (sink not in heard or (pages and not again))
        ]
        return journal.owe_instead(owed, sinks, self._setup.clock.now()) if sinks else journal


def _is_no_worse(story: Story) -> bool:
    """Return whether a story says nothing that people would be called for once more.

    What is under way has no outcome yet; a bundle grows; and what is over is over.
    """
    return story.state in OPEN or bool(story.tally) or story.state in RESOLVING
