"""One look at everything a decision rests on: the Deployment, its journal, the switch."""

import asyncio
from dataclasses import dataclass

from receiver import rollout as ro
from receiver.controller.guards import LEDGER, Guards
from receiver.controller.memory import Entry, Memory
from receiver.controller.setup import SWITCH, Ref, Setup
from receiver.controller.soak import noticed
from receiver.decisions import Look
from receiver.errors import Broken, StateUnreadable, TryAgain
from receiver.ledger import Ledger
from receiver.rollout import Rollout

STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A look, and the version of the journal that a write based on it is tested against."""

    look: Look
    entry: Entry


async def look(setup: Setup, memory: Memory, guards: Guards, ref: Ref) -> Seen:
    """Read the Deployment with its ReplicaSets, the journal, the switch and the ledger at once."""
    rollout, entry, stopped, ledger = await asyncio.gather(
        rollout_of(setup, ref), memory.read(ref), why_stopped(setup), _ledger(guards)
    )
    if isinstance(ledger, str):
        stopped, ledger = stopped or ledger, Ledger()
    now, journal = setup.clock.now(), entry.journal
    release = journal.release
    if rollout is not None:
        if rollout.canary_of:
            stable = Ref(ref.namespace, rollout.canary_of)
            release = (await memory.read(stable)).journal.release
        journal = noticed(journal, rollout, setup.policy.verify_after, now)
    seen = Look(
        rollout=rollout,
        journal=journal,
        policy=setup.policy,
        now=now,
        stopped=stopped,
        ledger=ledger,
        release=release,
    )
    return Seen(look=seen, entry=entry)


async def _ledger(guards: Guards) -> Ledger | str:
    """Read the ledger, or say why it is as if the switch were set: nobody knows what was done."""
    try:
        return await guards.read()
    except StateUnreadable as error:
        return f"the ConfigMap {LEDGER} cannot be used: {error}"


async def rollout_of(setup: Setup, ref: Ref) -> Rollout | None:
    """Read a Deployment with its ReplicaSets; None: there is none."""
    observation = await setup.cluster.observe(ref.namespace, ref.deployment)
    if observation is None:
        return None
    return ro.read(observation.deployment, observation.replicasets)


async def why_stopped(setup: Setup) -> str:
    """Return why automation is stopped, "" when it is not. Uncertain means stopped."""
    if setup.stopped:
        setup.metrics.stopped.set(1)
        return setup.stopped
    try:
        switch = await setup.cluster.read_state(SWITCH)
    except (TryAgain, Broken):
        why = f"the switch (ConfigMap {SWITCH}) cannot be read"
    else:
        if switch is None:
            why = f"the switch (ConfigMap {SWITCH}) does not exist"
        elif STOP in switch.data:
            why = switch.data[STOP][:200] or "the switch is set"
        else:
            why = ""
    setup.metrics.stopped.set(bool(why))
    return why
