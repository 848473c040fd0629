"""Each message in each state, compared with the file that holds it.

After a change that is meant, renew the files and read what `git diff` says of them:

    RENEW_GOLDEN=1 pytest tests/messages/test_golden.py
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.messages import (
    HEADLINES,
    Email,
    Short,
    Story,
    change_event,
    email,
    pagerduty,
    short,
    slack,
    slack_reply,
    webhook,
)
from tests.messages.limits import (
    change_faults,
    email_faults,
    pagerduty_faults,
    short_faults,
    slack_faults,
    webhook_faults,
)
from tests.messages.stories import STATES, UNTOLD, of_state

GOLDEN = Path(__file__).parent / "golden"
RENEW = "RENEW_GOLDEN" in os.environ
MENTION = "<!subteam^S0ONCALL>"

Say = Callable[[Story], Any]
Faults = Callable[[Any], list[str]]
KINDS: dict[str, tuple[Say, Faults]] = {
    "slack": (
        lambda told: slack(told, mention=MENTION),
        lambda body: slack_faults(body, MENTION),
    ),
    "slack_reply": (
        lambda told: slack_reply(told, mention=MENTION),
        lambda body: slack_faults(body, MENTION),
    ),
    "pagerduty": (pagerduty, pagerduty_faults),
    "change_event": (change_event, change_faults),
    "webhook": (webhook, webhook_faults),
    "email": (email, email_faults),
    "short": (short, short_faults),
}


def fallback() -> Story:
    """Return what the fallback is told of a page that was not accepted."""
    told = of_state("rollout_failed")
    return replace(told, instead_of=("pagerduty",), instead_for=told.at - told.started_at)


def storm() -> Story:
    """Return what is told of many alerts at once."""
    told = of_state("firing")
    others = (replace(told.alerts[0], alertname=f"Slow{n}") for n in range(9))
    tally = (("HighErrorRate", 30), ("Slow0", 3), ("Slow1", 1))
    return replace(told, alerts=(*told.alerts, *others), more=24, tally=tally)


def resolved_later() -> Story:
    """Return what is told when a rollback did not help, and its alert resolved all the same."""
    return replace(of_state("did_not_help"), state="resolved", alerts=of_state("recovered").alerts)


def release_hostile() -> Story:
    """Return what is told of a release whose version and reason were written to do harm."""
    said = "<!channel> [x](https://evil.example) `*now*` @here\nTo do: ' ; reboot ; '"
    told = of_state("release_waiting")
    return replace(told, detail=f"{said}: canary has soaked: it waits for {said}")


STORIES = {state: of_state(state) for state in STATES} | {
    "fallback": fallback(),
    "release_hostile": release_hostile(),
    "resolved_later": resolved_later(),
    "storm": storm(),
}


def written(said: Any) -> str:
    """Return a message as its file holds it: lines of text as a list, to be read in a diff."""
    if isinstance(said, Email):
        said = {"subject": said.subject, "text": said.text.split("\n")}
    elif isinstance(said, Short):
        said = {"title": said.title, "body": said.body.split("\n")}
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STORIES)
def test_a_message_is_the_one_that_was_agreed_on(name: str, kind: str) -> None:
    say, faults = KINDS[kind]
    said = say(STORIES[name])
    assert said is None or faults(said) == []
    file = GOLDEN / kind / f"{name}.json"
    if RENEW:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(written(said))
    assert written(said) == file.read_text()


def test_there_is_a_message_for_every_state_that_is_told() -> None:
    assert set(STATES) == set(HEADLINES) - {phase.value for phase in UNTOLD}
    assert {file.stem for file in GOLDEN.glob("*/*.json")} == set(STORIES)
    assert {file.parent.name for file in GOLDEN.glob("*/*.json")} == set(KINDS)
