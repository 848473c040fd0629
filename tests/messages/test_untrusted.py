"""Whatever an alert, an object or a person says: no markup of theirs, and always within limits."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.alerts import fingerprint
from receiver.messages import (
    AlertLine,
    RevisionLine,
    Site,
    Story,
    change_event,
    email,
    pagerduty,
    short,
    slack,
    slack_plain,
    slack_reply,
    webhook,
)
from receiver.reasons import Reason, Severity
from tests.messages.limits import (
    change_faults,
    email_faults,
    pagerduty_faults,
    short_faults,
    slack_faults,
    webhook_faults,
)
from tests.messages.stories import ALERT, BAD, CONTACTS, GOOD, STATES, T0, story

MENTION = "<!subteam^S0ONCALL> <@U0LEAD>"

NASTY = [
    "<!channel>",
    "<!here|here>",
    "<@U1>",
    "<#C1>",
    "<!subteam^S1>",
    "<!subteam^S0ONCALL>",
    "<https://evil.example|Runbook>",
    "[Runbook](https://evil.example)",
    "[x](javascript:alert(1))",
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
    "Runbook: https://evil.example/",
    "Runbook of x: www.evil.example",
    ":rotating_light:",
    "ends with :fire",
    "@channel",
    "@here",
    "@everyone",
    "\n",
    "\r",
    "\r\nBcc: all@example.com\r\n\r\n",
    "\n> quote",
    "\x00",
    "\x1b[2J",
    "\x9b31m",
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
    "data:text/html,x",
    "mailto:a@evil.example",
    "tel:+1",
    "https://x.example/a?b=<c>|d",
    "https://user:pass@evil.example/",
    "None",
    "' ; reboot ; '",
    "$(reboot)",
    " ",
]

# Surrogates too: JSON from outside may hold lone ones.
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)
TEXTS = st.lists(st.sampled_from(NASTY) | ANYTHING, max_size=4).map("".join)
URLS = TEXTS | TEXTS.map("https://x.example/".__add__) | TEXTS.map("https://".__add__)
URLS |= TEXTS.map("http://prometheus:9090/graph?".__add__)
LABELS = st.dictionaries(TEXTS | st.just("alertname"), TEXTS, max_size=6)


def with_labels(alert: AlertLine, labels: dict[str, str]) -> AlertLine:
    """Return an alert with labels and their fingerprint: what makes a silence possible."""
    try:
        digest = fingerprint(labels)
    except UnicodeEncodeError:
        digest = "0" * 16
    return replace(alert, labels=tuple(labels.items()), fingerprint=digest)


ALERTS = st.builds(
    with_labels,
    st.builds(
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
        external_url=URLS | st.just("https://alerts.example.com"),
        value=TEXTS,
    ),
    LABELS,
)
REVISIONS = st.builds(
    RevisionLine,
    number=st.integers(min_value=0, max_value=2**63),
    hash=TEXTS,
    images=st.lists(st.tuples(TEXTS, TEXTS), max_size=8).map(tuple),
    created_at=st.just(T0),
)
SITES = st.builds(
    Site,
    contacts=st.just(()) | st.just(CONTACTS),
    alertmanager_url=st.sampled_from(["", "https://alerts.example.com/prefix/"]),
    prometheus_url=st.sampled_from(["", "https://prometheus.example.com"]),
    receiver_url=st.sampled_from(["", "https://rollback.example.com/"]),
)
STORIES = st.builds(
    Story,
    subject=st.just("inc-1") | TEXTS.filter(bool),
    state=st.sampled_from(STATES),
    reason=st.sampled_from(Reason),
    severity=st.sampled_from(Severity),
    cluster=TEXTS,
    namespace=TEXTS | st.just("shop"),
    deployment=TEXTS | st.just("checkout"),
    at=st.just(T0 + timedelta(hours=2)),
    started_at=st.just(T0),
    alerts=st.lists(ALERTS, max_size=7).map(tuple),
    more=st.integers(min_value=0, max_value=10**6),
    tally=st.lists(st.tuples(TEXTS, st.integers(1, 10**6)), max_size=12).map(tuple),
    bad=st.none() | REVISIONS,
    good=st.none() | REVISIONS,
    applied_at=st.none() | st.just(T0),
    completed_at=st.none() | st.just(T0),
    undo_to=st.integers(min_value=0, max_value=2**63),
    actor=TEXTS,
    why=TEXTS,
    detail=TEXTS,
    until=st.none() | st.just(T0),
    instead_of=st.lists(TEXTS, max_size=3).map(tuple),
    instead_for=st.none() | st.just(timedelta(seconds=61)),
    site=SITES,
)


def faults(told: Story) -> list[str]:
    """Return what is wrong with any message that a story makes."""
    reply, event, change = slack_reply(told, mention=MENTION), pagerduty(told), change_event(told)
    return [
        *slack_faults(slack(told, mention=MENTION, doubtful=True), MENTION),
        *slack_faults(slack(told)),
        *slack_faults(slack_plain(told, mention=MENTION, doubtful=True), MENTION),
        *(slack_faults(reply, MENTION) if reply is not None else []),
        *(pagerduty_faults(event) if event is not None else []),
        *(change_faults(change) if change is not None else []),
        *webhook_faults(webhook(told)),
        *email_faults(email(told)),
        *short_faults(short(told)),
    ]


@given(STORIES)
def test_whatever_is_said_every_message_is_sound(told: Story) -> None:
    assert faults(told) == []


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
        external_url=said,
        value=said,
    )
    alert = with_labels(alert, {"alertname": said, said: "x"})
    images = ((said, said),) * 30
    changes: dict[str, Any] = dict.fromkeys(
        ("subject", "cluster", "namespace", "deployment", "actor", "why", "detail"), said
    )
    return story(
        alerts=(alert,) * 50,
        tally=((said, 7),) * 50,
        bad=replace(BAD, hash=said, images=images),
        good=replace(GOOD, hash=said, images=images),
        applied_at=T0,
        undo_to=42,
        instead_of=(said,) * 3,
        site=Site(contacts=CONTACTS * 9),
        **changes,
    )


@pytest.mark.parametrize("said", NASTY, ids=range(len(NASTY)))
def test_each_nasty_text_is_harmless_in_every_place(said: str) -> None:
    told = everywhere(said)
    assert faults(told) == []
    # With names that may stand in a command, there are commands.
    named = replace(told, namespace="shop", deployment="checkout")
    assert "--to-revision=42" in email(named).text
    assert faults(named) == []


@pytest.mark.parametrize("piece", ["x", "&", "`", '"', "🔥", "<!channel> ", "\n", "\u202e", "_"])
def test_a_megabyte_in_every_place_is_cut(piece: str) -> None:
    assert faults(everywhere(piece * (1_000_000 // len(piece)))) == []


@pytest.mark.parametrize("state", STATES)
def test_what_calls_nobody_holds_no_mention_whatever_is_configured(state: str) -> None:
    told = replace(everywhere(MENTION), state=state, severity=Severity.WARNING, instead_of=())
    bodies = (slack(told, mention=MENTION), slack_reply(told, mention=MENTION))
    called = [MENTION in str(body) for body in bodies if body is not None]
    failed = state in (
        *("rollout_failed", "did_not_help", "gone", "failing", "silent"),
        "release_not_undone",
    )
    assert called == [failed] * len(called)


def test_only_the_configured_mention_stands_as_it_is_and_only_in_front() -> None:
    body = slack(everywhere("<!channel>"), mention=MENTION)
    assert body["text"].startswith(f"{MENTION} 🚨 ROLLBACK FAILED")
    assert body["blocks"][1]["text"]["text"] == MENTION
    assert str(body).count(MENTION) == 2
    assert "<!channel>" not in str(body)
