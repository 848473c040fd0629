import inspect
import json
from dataclasses import replace

import pytest

from receiver.messages import webhook
from tests.messages.limits import webhook_faults
from tests.messages.stories import BARE, FULL, STATES, T0, of_state, story

ALWAYS = {
    *("version", "subject", "state", "headline", "summary", "now", "severity", "reason"),
    *("at", "started_at", "alerts", "more_alerts"),
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_told_as_plain_data(state: str) -> None:
    said = webhook(of_state(state))
    assert webhook_faults(said) == []
    assert said.keys() >= ALWAYS
    assert said["state"] == state


def test_of_what_is_not_known_there_is_no_key() -> None:
    said = webhook(replace(BARE, state="half_done", reason=FULL.reason))
    assert set(said) == ALWAYS | {"now"}
    assert said["alerts"] == []


def test_every_key_is_in_the_schema() -> None:
    schema = inspect.getdoc(webhook) or ""
    told = replace(
        FULL, state="recovered", actor="ann", why="w", detail="d", until=T0, instead_of=("pager",)
    )
    said = [webhook(told), webhook(of_state("refused"))]
    keys = {key for each in said for key in (*each, *each["alerts"][0], *each["from"])}
    assert {key for key in keys if f"`{key}`" not in schema} == set()


def test_times_are_in_utc_and_numbers_are_numbers() -> None:
    said = webhook(of_state("recovered"))
    assert said["at"] == "2026-11-23T03:14:03+00:00"
    assert said["seconds_to_recover"] == {"from_start": 243.0, "from_patch": 202.0}
    assert (said["from"]["number"], said["to"]["number"]) == (42, 41)
    assert said["alerts"][0]["labels"]["namespace"] == "shop"
    assert said["commands"]["undo_this"].endswith("--to-revision=42")


def test_of_very_many_alerts_the_rest_is_counted() -> None:
    said = webhook(story(alerts=FULL.alerts * 50, more=7))
    assert (len(said["alerts"]), said["more_alerts"]) == (20, 37)
    assert len(json.dumps(said)) < 100_000
