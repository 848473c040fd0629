"""Whatever an alert, an object or a person says: no markup of theirs, and always within limits."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.messages import AlertLine, RevisionLine, Story, pagerduty, slack, slack_plain
from receiver.reasons import Reason, Severity
from tests.messages.limits import pagerduty_faults, slack_faults
from tests.messages.stories import ALERT, BAD, GOOD, T0, story

NASTY = [
    "<!channel>",
    "<!here|here>",
    "<@U1>",
    "<#C1>",
    "<!subteam^S1>",
    "<https://evil.example|Runbook>",
    "&amp;",
    "&lt;!channel&gt;",
    "&",
    "|",
    "`",
    "```",
    "*x*",
    "_x_",
    "~x~",
    "*Now:* all is well",
    ":rotating_light:",
    "@channel",
    "@here",
    "\n",
    "\r",
    "\n> quote",
    "\x00",
    "\x1b[2J",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u2028",
    "\ud800",
    "\udfff",
    "👩‍👩‍👧",
    "🔥" * 50,
    '"' * 400,
    "\\" * 400,
    "&" * 400,
    "javascript:alert(1)",
    "https://x.example/a?b=<c>|d",
    "None",
    " ",
]

# Surrogates too: JSON from outside may hold lone ones.
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)
TEXTS = st.lists(st.sampled_from(NASTY) | ANYTHING, max_size=4).map("".join)
URLS = TEXTS | TEXTS.map("https://x.example/".__add__) | TEXTS.map("https://".__add__)
ALERTS = st.builds(
    AlertLine,
    alertname=TEXTS,
    severity=TEXTS,
    starts_at=st.datetimes(timezones=st.timezones()) | st.just(T0),
    firing=st.booleans(),
    summary=TEXTS,
    description=TEXTS,
    runbook_url=URLS,
    dashboard_url=URLS,
    generator_url=URLS,
)
REVISIONS = st.builds(
    RevisionLine,
    number=st.integers(min_value=0, max_value=2**63),
    hash=TEXTS,
    images=st.lists(st.tuples(TEXTS, TEXTS), max_size=8).map(tuple),
    created_at=st.just(T0),
)
STORIES = st.builds(
    Story,
    subject=st.just("inc-1") | TEXTS.filter(bool),
    state=st.sampled_from(["following", "recovered", "refused", "firing", "shadow", "failing"]),
    reason=st.sampled_from(Reason),
    severity=st.sampled_from(Severity),
    cluster=TEXTS,
    namespace=TEXTS | st.just("shop"),
    deployment=TEXTS | st.just("checkout"),
    at=st.just(T0 + timedelta(hours=2)),
    started_at=st.just(T0),
    alerts=st.lists(ALERTS, max_size=7).map(tuple),
    bad=st.none() | REVISIONS,
    good=st.none() | REVISIONS,
    actor=TEXTS,
    why=TEXTS,
    detail=TEXTS,
    until=st.none() | st.just(T0),
)


@given(STORIES)
def test_whatever_is_said_slack_gets_a_sound_message(told: Story) -> None:
    assert slack_faults(slack(told)) == []
    assert slack_faults(slack_plain(told)) == []


@given(STORIES)
def test_whatever_is_said_pagerduty_gets_a_sound_event(told: Story) -> None:
    event = pagerduty(told)
    assert event is None or pagerduty_faults(event) == []


def everywhere(said: str) -> Story:
    """Return a story that has the same text in every place that is not ours."""
    alert = replace(
        ALERT,
        alertname=said,
        severity=said,
        summary=said,
        description=said,
        runbook_url=said,
        dashboard_url="https://x.example/" + said,
        generator_url=said,
    )
    images = ((said, said),) * 30
    changes: dict[str, Any] = dict.fromkeys(
        ("subject", "cluster", "namespace", "deployment", "actor", "why", "detail"), said
    )
    return story(
        alerts=(alert,) * 50,
        bad=replace(BAD, hash=said, images=images),
        good=replace(GOOD, hash=said, images=images),
        **changes,
    )


@pytest.mark.parametrize("said", NASTY, ids=range(len(NASTY)))
def test_each_nasty_text_is_harmless_in_every_place(said: str) -> None:
    told = everywhere(said)
    assert slack_faults(slack(told)) == []
    event = pagerduty(told)
    assert event is not None
    assert pagerduty_faults(event) == []


@pytest.mark.parametrize("piece", ["x", "&", "`", '"', "🔥", "<!channel> ", "\n", "\u202e", "_"])
def test_a_megabyte_in_every_place_is_cut(piece: str) -> None:
    told = everywhere(piece * (1_000_000 // len(piece)))
    assert slack_faults(slack(told)) == []
    event = pagerduty(told)
    assert event is not None
    assert pagerduty_faults(event) == []
