"""The journals of Deployments that are gone: kept for a while, then dropped."""

from datetime import datetime, timedelta

from receiver.controller.memory import Memory, ref_of
from receiver.controller.setup import JOURNALS, OWN, Setup
from receiver.errors import Conflict, Forbidden, StateUnreadable
from receiver.journal import Journal

# People may want to read what happened; and a Deployment that is made anew within this time is
# still known by its name. Judged by the wall clock: that may be wrong by hours, and not by days.
KEPT_FOR = timedelta(days=7)
# Seconds from the start to the first look, at random so that replicas take turns; and to the next.
FIRST_WITHIN, EVERY = 600.0, 6 * 3600.0


class Collector:
    """Drops what is remembered of Deployments that no longer exist."""

    def __init__(self, setup: Setup, memory: Memory) -> None:
        self._setup = setup
        self._memory = memory
        self._next = setup.clock.monotonic() + setup.rng.uniform(60, FIRST_WITHIN)

    async def collect(self) -> None:
        """Look through all journals, when it is time to.

        A journal that is changed meanwhile, damaged, or whose namespace we may not look into stays.
        """
        setup = self._setup
        if setup.clock.monotonic() < self._next:
            return
        self._next = setup.clock.monotonic() + EVERY
        for state in await setup.cluster.list_states(labels=JOURNALS):
            try:
                journal = self._memory.parse(state)
                ref = ref_of(journal)
                if ref == OWN or not is_old(journal, setup.clock.now()):
                    continue
                if await setup.cluster.deployment(*ref) is None:
                    await setup.cluster.delete_state(state)
                    setup.log.info("journal_collected", target=str(ref), name=state.name)
            except (StateUnreadable, Forbidden, Conflict) as error:
                setup.log.debug("journal_kept", name=state.name, error=str(error)[:200])


def is_old(journal: Journal, now: datetime) -> bool:
    """Return whether nothing is left to do for a journal, and nothing was for `KEPT_FOR`."""
    changed = journal.changed_at
    return not journal.busy and (changed is None or now - changed > KEPT_FOR)
