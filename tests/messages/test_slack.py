from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.journal import Phase
from receiver.messages import HEADLINES, Story, slack, slack_plain
from receiver.reasons import Reason, Severity, about
from tests.messages.limits import slack_faults
from tests.messages.stories import ALERT, BAD, BARE, GOOD, T0, story

STATES = [*Phase, "firing", "resolved", "failing", "shadow"]


def sections(told: Story) -> list[str]:
    """Return the text of every block, in order."""
    return [
        block["text"]["text"] if "text" in block else block["elements"][0]["text"]
        for block in slack(told)["blocks"]
    ]


def whole(told: Story) -> str:
    return "\n".join(sections(told))


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("state", STATES)
def test_every_state_is_told_in_the_order_of_three_in_the_morning(
    state: str, severity: Severity
) -> None:
    told = story(state=state, severity=severity)
    body, news = slack(told), HEADLINES[state]
    assert slack_faults(body) == []
    title, outcome, where, change, why, links, commands, footer = sections(told)
    assert title == f"{news.icon} {news.words} · shop/checkout (eu-1) · r42 → r41"
    assert outcome.split("\n") == [
        f"*Now:* {news.now}",
        *([f"*To do:* {news.to_do}"] if news.to_do else []),
    ]
    assert where.split("\n") == [
        "*Where:* cluster `eu-1` · namespace `shop` · Deployment `checkout`",
        f"*Severity:* {severity}",
        "*Began:* 2026-11-23 03:10:00 UTC, 4 min 3 s before this",
    ]
    assert "r42 (`7d9f8c6b5`, of 2026-11-23 03:03:00 UTC) → r41" in change
    assert "• `api`: `shop/api:2@sha256:abababa` → `shop/api:1`" in change
    assert "`HighErrorRate` (critical, firing, began 2026-11-23 03:10:00 UTC): 12% of" in why
    assert links.startswith("*Links:* <https://wiki.example.com/runbook?alert=HighErrorRate&amp;")
    assert commands.split("\n") == [
        "`kubectl -n shop rollout status deployment/checkout`",
        "`kubectl -n shop rollout history deployment/checkout`",
    ]
    assert footer == "inc-0123456789ab · rolled_back · 2026-11-23 03:14:03 UTC"
    assert body["text"].startswith(title)


def test_the_headlines_cover_every_phase_of_an_incident() -> None:
    assert set(HEADLINES) == {
        *map(str, Phase),
        "refused",
        "firing",
        "resolved",
        "failing",
        "works_again",
        "mass_alert",
        "mass_alert_over",
        "silent",
        "heard_again",
        "shadow",
    }


def test_no_two_outcomes_read_alike() -> None:
    outcomes = [HEADLINES[state] for state in STATES if state not in ("settling", "applying")]
    words = [news.words for news in outcomes]
    assert len(set(words)) == len(words)
    assert all(news.words.strip() and news.now for news in outcomes)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_given_as_a_sentence_unless_the_state_says_it(reason: Reason) -> None:
    told = story(state="refused", reason=reason)
    assert slack_faults(slack(told)) == []
    assert (f"*Why:* {about(reason).text}" in whole(told)) == (reason is not Reason.ROLLED_BACK)


def test_what_is_not_known_is_left_out() -> None:
    body = slack(BARE)
    assert slack_faults(body) == []
    assert [block["type"] for block in body["blocks"]] == [
        "header",
        "section",
        "section",
        "section",
        "context",
    ]
    assert "None" not in str(body["blocks"])
    assert "Where" not in whole(BARE)
    assert "kubectl" not in whole(BARE)


def test_a_state_of_a_newer_version_says_its_name() -> None:
    body = slack(story(state="half_done"))
    assert "HALF DONE" in body["text"]
    assert slack_faults(body) == []


def test_a_rollback_by_hand_names_who_and_why() -> None:
    told = story(actor="ann@example.com", why="checkout is down")
    assert "*By hand:* ann@example.com: checkout is down" in whole(told)
    assert "*By hand:* ann@example.com\n" in whole(story(actor="ann@example.com"))


def test_a_pending_verification_says_until_when() -> None:
    told = story(state="verifying", until=T0 + timedelta(minutes=14))
    assert "*Verification:* pending until 2026-11-23 03:24:00 UTC" in whole(told)


@pytest.mark.parametrize(
    ("bad", "good", "lines"),
    [
        ((("a", "i:2"),), (("a", "i:1"),), ["• `a`: `i:2` → `i:1`"]),
        ((("a", "i:1"),), (("a", "i:1"),), ["• `a`: `i:1` (the same in both)"]),
        (
            (("a", "i:1"), ("b", "j:2")),
            (("a", "i:1"), ("b", "j:1")),
            ["• `b`: `j:2` → `j:1`", "• `a`: `i:1` (the same in both)"],
        ),
        (
            (("a", "i:2"),),
            (("b", "j:1"),),
            ["• `a`: `i:2` → none", "• `b`: none → `j:1`"],
        ),
        ((("a", "i:2"),), None, ["• `a`: `i:2`"]),
        ((("a", ""),), None, []),
    ],
    ids=["changed", "same", "changed first", "other containers", "no good", "no image"],
)
def test_images_are_compared_container_by_container(
    bad: tuple[tuple[str, str], ...],
    good: tuple[tuple[str, str], ...] | None,
    lines: list[str],
) -> None:
    told = story(
        bad=replace(BAD, images=bad),
        good=None if good is None else replace(GOOD, images=good),
    )
    assert [line for line in whole(told).split("\n") if line.startswith("• `")][:-1] == lines


def test_of_many_containers_and_alerts_the_rest_is_counted() -> None:
    images = tuple((f"c{n}", f"i:{n}") for n in range(9))
    alerts = tuple(replace(ALERT, alertname=f"Alert{n}") for n in range(8))
    told = story(bad=replace(BAD, images=images), good=None, alerts=alerts)
    text = whole(told)
    assert "… and 3 more" in text
    assert "`c5`" in text
    assert "`c6`" not in text
    assert "`Alert4`" in text
    assert "`Alert5`" not in text


def test_each_link_is_shown_once() -> None:
    told = story(alerts=(ALERT, replace(ALERT, alertname="Other")))
    assert whole(told).count("|Runbook>") == 1
    other = replace(ALERT, runbook_url="https://wiki.example.com/other")
    assert whole(story(alerts=(ALERT, other))).count("|Runbook>") == 2


@pytest.mark.parametrize(
    ("namespace", "deployment"),
    [
        ("shop; reboot", "checkout"),
        ("shop", "$(reboot)"),
        ("shop", "Checkout"),
        ("-f", "checkout"),
        ("shop", "checkout\nreboot"),
        ("shop", "a" * 254),
        ("", "checkout"),
        ("shop", ""),
    ],
)
def test_no_command_is_offered_for_what_is_no_kubernetes_name(
    namespace: str, deployment: str
) -> None:
    told = story(namespace=namespace, deployment=deployment)
    assert "kubectl" not in whole(told)
    assert slack_faults(slack(told)) == []


def test_the_longest_names_leave_the_outcome_and_the_revisions_in_the_header() -> None:
    told = story(namespace="n" * 63, deployment="d" * 253, cluster="c" * 63)
    title = sections(told)[0]
    assert title.startswith("🚨 ROLLBACK FAILED · ")
    assert title.endswith(" · r42 → r41")
    assert slack_faults(slack(told)) == []


def test_the_plain_message_is_text_alone() -> None:
    told = story()
    assert slack_plain(told) == {
        "text": "🚨 ROLLBACK FAILED · shop/checkout (eu-1) · r42 → r41"
        " · The earlier revision did not become ready. · HighErrorRate",
        "unfurl_links": False,
        "unfurl_media": False,
    }


def test_when_all_is_at_its_longest_the_least_needed_goes_first() -> None:
    quotes = '"' * 5000
    alert = replace(
        ALERT, alertname=quotes, summary=quotes, runbook_url="https://x.example/" + "r" * 900
    )
    images = tuple((f"c{n}", quotes) for n in range(20))
    told = story(
        alerts=(alert,) * 20,
        bad=replace(BAD, images=images),
        actor=quotes,
        why=quotes,
        detail=quotes,
    )
    body = slack(told)
    assert slack_faults(body) == []
    text = whole(told)
    assert "*Now:*" in text
    assert "*To do:*" in text
    assert "kubectl" in text
    assert "Links" not in text


def test_the_same_story_makes_the_same_bytes() -> None:
    def bytes_of(body: Any) -> bytes:
        return repr(body).encode()

    assert bytes_of(slack(story())) == bytes_of(slack(story()))
