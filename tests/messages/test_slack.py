from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.messages import (
    HEADLINES,
    Contact,
    Site,
    Story,
    headline,
    pagerduty,
    slack,
    slack_plain,
    slack_reply,
)
from receiver.reasons import Reason, Severity, about
from tests.messages.limits import slack_faults
from tests.messages.stories import (
    ALERT,
    BAD,
    BARE,
    CONTACTS,
    FULL,
    FULL_ALERT,
    GOOD,
    RELEASES,
    SITE,
    STATES,
    T0,
    UNTOLD,
    of_state,
    story,
)

HAPPENED = [state for state in STATES if state not in ("test", "gone", *RELEASES)]


def sections(told: Story) -> list[str]:
    """Return the text of every block, in order."""
    return [
        block["text"]["text"] if "text" in block else block["elements"][0]["text"]
        for block in slack(told)["blocks"]
    ]


def whole(told: Story) -> str:
    return "\n".join(sections(told))


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("state", HAPPENED)
def test_every_state_is_told_in_the_order_of_three_in_the_morning(
    state: str, severity: Severity
) -> None:
    told = story(state=state, severity=severity)
    body, news = slack(told), headline(told)
    assert slack_faults(body) == []
    title, outcome, where, change, why, links, commands, footer = sections(told)
    assert title == f"{news.icon} {news.words} · shop/checkout (eu-1) · r42 → r41"
    assert [line for line in outcome.split("\n") if "*Recovered:*" not in line] == [
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
        "*Status:* `kubectl -n shop rollout status deployment/checkout`",
        "*History:* `kubectl -n shop rollout history deployment/checkout`",
    ]
    assert footer == "inc-0123456789ab · rolled_back · 2026-11-23 03:14:03 UTC"
    assert body["text"].startswith(title)


def test_the_headlines_cover_every_phase_of_an_incident() -> None:
    assert set(HEADLINES) == {*map(str, UNTOLD), *STATES}


def test_no_two_outcomes_read_alike() -> None:
    outcomes = [HEADLINES[state] for state in STATES]
    words = [news.words for news in outcomes]
    assert len(set(words)) == len(words)
    assert all(news.words.strip() and news.now for news in outcomes)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_given_as_a_sentence_unless_the_state_says_it(reason: Reason) -> None:
    told = story(state="refused", reason=reason)
    assert slack_faults(slack(told)) == []
    said = reason in (
        *(Reason.ROLLED_BACK, Reason.NOTIFY_ONLY, Reason.RESOLVED, Reason.WATCHDOG),
        *(Reason.RELEASING, Reason.AWAITING_APPROVAL, Reason.RELEASE_ABORTED),
    )
    assert (f"*Why:* {about(reason).text}" in whole(told)) == (not said)


def test_what_is_not_known_is_left_out() -> None:
    body = slack(BARE)
    assert slack_faults(body) == []
    assert slack_faults(slack(replace(BARE, site=SITE))) == []
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
        tally=((quotes, 1),) * 20,
        instead_of=(quotes,) * 20,
        applied_at=T0,
        undo_to=42,
        site=Site(contacts=(Contact(role=quotes, contact=quotes, availability=quotes),) * 9),
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


# --- the 3 a.m. facts


def lines(told: Story) -> list[str]:
    return whole(told).split("\n")


def test_a_rollback_by_itself_says_why_this_release_is_blamed() -> None:
    assert (
        "*Why:* `HighErrorRate` asks for a rollback, and began 7 min after this revision was made."
        in lines(story())
    )
    older = replace(BAD, created_at=T0 + timedelta(seconds=1))
    assert "*Why:* `HighErrorRate` asks for a rollback." in lines(story(bad=older))
    assert "*Why:*" not in whole(story(actor="ann"))
    assert "*Why:*" not in whole(story(alerts=()))


def test_what_a_rollback_does_not_bring_back_is_said_once_there_was_one() -> None:
    said = "*Not reverted:* ConfigMaps, Secrets, database migrations, and all else outside the"
    assert said in whole(story(applied_at=T0))
    assert said not in whole(story())


def test_the_revision_that_is_gone_back_to_has_another_number_by_then() -> None:
    assert "which has a new number now" in whole(story(applied_at=T0))
    assert "which has a new number now" not in whole(story())


def test_when_it_recovered_it_says_how_long_that_took() -> None:
    told = of_state("recovered")
    said = "*Recovered:* 4 min 3 s after the alert began, 3 min 22 s after the patch"
    assert said in lines(told)
    assert "*Recovered:* 4 min 3 s after the alert began" in lines(replace(told, applied_at=None))
    assert "*Recovered:*" not in whole(of_state("unconfirmed"))
    assert "4 min 3 s after it was asked for, 3 min" in whole(replace(told, alerts=()))
    late = replace(told, started_at=told.at + timedelta(seconds=1))
    assert "*Recovered:* 0 s after" in whole(late)


def test_the_patch_is_told_with_how_long_its_rollout_took() -> None:
    assert "*Patched:* 2026-11-23 03:10:41 UTC, rolled out 32 s later" in lines(FULL)
    assert "*Patched:* 2026-11-23 03:10:41 UTC" in lines(replace(FULL, completed_at=None))


def test_an_alert_is_told_with_its_value() -> None:
    assert "• `HighErrorRate` (critical, firing, value `12.3%`, began 2026" in whole(FULL)
    assert "HighErrorRate 12.3%" in slack(FULL)["text"]
    assert "value" not in whole(story())


@pytest.mark.parametrize(
    ("state", "count", "words"),
    [
        ("firing", 0, "ALERT"),
        ("firing", 11, "12 ALERTS"),
        ("resolved", 0, "RESOLVED"),
        ("resolved", 11, "12 ALERTS RESOLVED"),
        ("rollout_failed", 11, "ROLLBACK FAILED"),
    ],
)
def test_many_alerts_in_one_are_counted(state: str, count: int, words: str) -> None:
    told = replace(of_state(state), more=count)
    assert sections(told)[0].split(" · ")[0].partition(" ")[2] == words
    assert slack_faults(slack(told)) == []
    assert (f"… and {count} more" in whole(told)) == (count > 0)


def test_a_storm_is_counted_by_name() -> None:
    tally = tuple((f"Alert{n}", 100 - n) for n in range(10))
    said = "*Counted:* `Alert0` 100 · `Alert1` 99"
    assert said in whole(replace(of_state("firing"), tally=tally))
    assert "`Alert7` 93 … and 2 more" in whole(replace(of_state("firing"), tally=tally))


def test_many_refusals_in_one_are_counted() -> None:
    told = replace(of_state("refused"), more=11, tally=(("Down", 12),))
    assert headline(told).words == "12 ALERTS, NOT ROLLED BACK"
    assert headline(replace(told, tally=())).words == "NOT ROLLED BACK"


def test_a_page_for_many_targets_names_them() -> None:
    names = ", ".join(f"shop/deployment-{n:03}" for n in range(70))
    told = replace(of_state("mass_alert"), detail=names)
    assert 1400 < len(names) < 1500
    assert f"*Detail:* {names}" in lines(told)
    assert slack_faults(slack(told)) == []
    event = pagerduty(told)
    assert event is not None
    assert event["payload"]["custom_details"]["detail"] == names


# --- what to do about it

UNDO = "kubectl -n shop rollout undo deployment/checkout --to-revision=42"


@pytest.mark.parametrize("state", STATES)
def test_a_rollback_can_be_undone_while_it_stands(state: str) -> None:
    stands = state in (
        *("following", "verifying", "recovered", "unconfirmed", "did_not_help", "rollout_failed"),
    )
    assert (UNDO in whole(of_state(state))) == stands


def test_without_a_number_that_holds_nothing_is_offered_to_undo_it() -> None:
    told = whole(replace(FULL, undo_to=0))
    assert "Undo" not in told
    assert "rollout history" in told


def test_to_undo_it_by_the_api_quarantines_nothing_and_says_why() -> None:
    body = (
        '{"to_revision": 42, "force": true, "quarantine": false, "reason": "undo inc-0123456789ab"}'
    )
    send = f"curl -sS -X POST -H \"Authorization: Bearer $TOKEN\" -d '{body}'"
    path = "/api/v1/deployments/shop/checkout/rollback"
    assert f"*Undo this by API:* `{send} http://localhost:8080{path}`" in lines(FULL)
    forward = "kubectl -n rollback-receiver port-forward service/rollback-receiver 8080"
    assert f"*Reach the API:* `{forward}`" in lines(FULL)
    home = replace(FULL, site=Site(receiver_url="https://rollback.example.com/"))
    assert f"*Undo this by API:* `{send} https://rollback.example.com{path}`" in lines(home)
    assert "Reach the API" not in whole(home)
    odd = replace(FULL, subject="'; reboot; '")
    assert '"reason": "undo it"' in whole(odd)


def test_what_was_refused_can_be_done_by_hand_where_a_person_may() -> None:
    refused = of_state("refused")
    by_hand = "kubectl -n shop rollout undo deployment/checkout --to-revision=41"
    assert f"*Roll back:* `{by_hand}`" in lines(refused)
    assert '{"to_revision": 41, "reason": "frozen inc-0123456789ab"}' in whole(refused)
    unknown = whole(replace(refused, good=None))
    assert "--to-revision" not in unknown
    assert """*Roll back by API:* `curl""" in unknown
    assert """-d '{"reason": "frozen inc-0123456789ab"}'""" in unknown
    for reason in (Reason.NO_GOOD_REVISION, Reason.PROTECTED, Reason.NO_TARGET):
        assert "Roll back" not in whole(replace(refused, reason=reason))


def test_contacts_are_told_when_it_is_bad_and_critical() -> None:
    called = "• Call On-Call Engineer: `+91-XXX-XXX-XXXX` (24/7)"
    assert called in lines(of_state("rollout_failed"))
    assert called in lines(of_state("refused"))
    assert called not in lines(replace(of_state("refused"), severity=Severity.WARNING))
    assert called not in lines(of_state("recovered"))
    warned = replace(of_state("firing"), instead_of=("pagerduty",))
    assert called in lines(warned)
    alone = Site(contacts=(Contact(role="Ops", contact="ops@example.com"),))
    assert "• Call Ops: `ops@example.com`" in lines(replace(FULL, site=alone))


# --- a staged release


def by_api(told: Story) -> list[str]:
    """Return the labels of the commands that are requests to us."""
    return [line[1 : line.index(" by API:*")] for line in lines(told) if " by API:*" in line]


@pytest.mark.parametrize("state", RELEASES)
def test_a_release_says_nothing_of_what_it_has_not(state: str) -> None:
    text = whole(of_state(state))
    for label in ("Not reverted", "Revision", "Patched", "Recovered", "Images", "Links", "By hand"):
        assert f"*{label}:*" not in text
    assert "None" not in text
    assert "*Canary:* `kubectl -n shop rollout status deployment/checkout-canary`" in text


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        ("release_prepared", ["Abort"]),
        ("release_stage", ["Abort"]),
        ("release_waiting", ["Approve", "Reject"]),
        ("release_promoting", ["Abort"]),
        ("release_promoted", ["Abort"]),
        ("release_held", ["Resume", "Abort"]),
        ("release_troubled", ["Abort"]),
        ("release_aborting", []),
        ("release_aborted", []),
        ("release_not_undone", ["Roll back"]),
        ("release_completed", []),
    ],
)
def test_a_release_offers_what_a_person_can_do_with_it_next(state: str, verbs: list[str]) -> None:
    assert by_api(of_state(state)) == [*verbs, "Log"]


def test_a_stage_is_approved_by_a_line_to_copy() -> None:
    told = of_state("release_waiting")
    path = "/api/v1/deployments/shop/checkout/release"
    body = '{"reason": "approve rel-0123456789ab"}'
    send = f"curl -sS -X POST -H \"Authorization: Bearer $TOKEN\" -d '{body}'"
    assert f"*Approve by API:* `{send} http://localhost:8080{path}/approve`" in lines(told)
    read = 'curl -sS -H "Authorization: Bearer $TOKEN"'
    assert f"*Log by API:* `{read} http://localhost:8080{path}/log.md`" in lines(told)
    forward = "kubectl -n rollback-receiver port-forward service/rollback-receiver 8080"
    assert lines(told).count(f"*Reach the API:* `{forward}`") == 1
    home = replace(told, site=Site(receiver_url="https://rollback.example.com/"))
    assert f"{send} https://rollback.example.com{path}/approve" in whole(home)
    assert "Reach the API" not in whole(home)
    assert '"reason": "approve it"' in whole(replace(told, subject="'; reboot; '"))


def test_a_release_that_is_not_taken_back_in_time_can_be_by_hand() -> None:
    by_hand = "kubectl -n shop scale deployment/checkout-canary --replicas=0"
    assert f"*Take back:* `{by_hand}`" in lines(of_state("release_aborting"))
    assert [s for s in STATES if by_hand in whole(of_state(s))] == ["release_aborting"]


@pytest.mark.parametrize("state", RELEASES)
def test_no_command_is_offered_for_a_release_of_what_is_no_kubernetes_name(state: str) -> None:
    told = replace(of_state(state), deployment="$(reboot)")
    assert "kubectl" not in whole(told)
    assert "curl" not in whole(told)
    assert slack_faults(slack(told)) == []


def test_the_longest_names_of_a_release_leave_what_is_to_be_done() -> None:
    told = replace(of_state("release_waiting"), namespace="n" * 63, deployment="d" * 253)
    assert slack_faults(slack(told)) == []
    assert by_api(told)[:2] == ["Approve", "Reject"]


@pytest.mark.parametrize("state", RELEASES)
def test_of_a_release_only_that_it_is_taken_back_calls_people(state: str) -> None:
    told = replace(of_state(state), severity=Severity.CRITICAL)
    grave = state in ("release_aborting", "release_not_undone")
    assert (MENTION in str(slack(told, mention=MENTION))) == grave
    assert ("Call On-Call Engineer" in whole(told)) == grave
    # A person may have ended it: that is a warning.
    warned = slack(replace(told, severity=Severity.WARNING), mention=MENTION)
    assert (MENTION in str(warned)) == (state == "release_not_undone")


# --- who is called

MENTION = "<!subteam^S0ONCALL>"


def test_a_mention_stands_in_the_text_and_in_front_of_everything() -> None:
    body = slack(story(), mention=MENTION)
    assert slack_faults(body, MENTION) == []
    assert body["text"].startswith(f"{MENTION} 🚨 ROLLBACK FAILED")
    assert body["blocks"][1]["text"]["text"] == MENTION
    assert slack_plain(story(), mention=MENTION)["text"] == body["text"]


@pytest.mark.parametrize(
    ("state", "severity", "instead_of", "called"),
    [
        ("following", Severity.CRITICAL, (), True),
        ("firing", Severity.CRITICAL, (), True),
        ("firing", Severity.WARNING, (), False),
        ("firing", Severity.WARNING, ("pagerduty",), True),
        ("recovered", Severity.CRITICAL, (), False),
        ("test", Severity.CRITICAL, (), False),
        ("shadow", Severity.CRITICAL, (), False),
        ("rollout_failed", Severity.WARNING, (), True),
    ],
)
def test_people_are_called_for_what_is_critical_or_has_failed(
    state: str, severity: Severity, instead_of: tuple[str, ...], *, called: bool
) -> None:
    told = story(state=state, severity=severity, instead_of=instead_of)
    assert (MENTION in str(slack(told, mention=MENTION))) == called


def test_the_fallback_says_who_has_not_taken_it_and_for_how_long() -> None:
    told = story(instead_of=("pagerduty",), instead_for=timedelta(seconds=63))
    said = (
        "*Fallback:* `pagerduty` has not accepted this page for 1 min 3 s: it comes here instead."
    )
    assert sections(told)[1].split("\n")[0] == said
    both = whole(story(instead_of=("pagerduty", "mail")))
    assert "*Fallback:* `pagerduty`, `mail` have not accepted this page: it comes" in both


def test_what_may_be_a_duplicate_says_so() -> None:
    assert sections(story())[-1].endswith("03:14:03 UTC")
    assert slack(story(), doubtful=True)["blocks"][-1]["elements"][0]["text"].endswith(
        "03:14:03 UTC · may be a duplicate"
    )
    assert slack_plain(story(), doubtful=True)["text"].endswith(" · may be a duplicate")


# --- replies in the thread


@pytest.mark.parametrize("state", STATES)
def test_how_it_ended_is_also_said_in_the_thread(state: str) -> None:
    reply = slack_reply(of_state(state), mention=MENTION)
    if state in (
        *("following", "verifying", "firing", "resolved", "shadow", "mass_alert", "test"),
        *("release_prepared", "release_promoting"),
    ):
        assert reply is None
        return
    assert reply is not None
    assert slack_faults(reply, MENTION) == []
    assert len(reply["blocks"]) == 1
    assert HEADLINES[state].words in reply["blocks"][0]["text"]["text"]
    shown = state in (
        *("rollout_failed", "did_not_help", "gone", "failing", "silent"),
        *("release_waiting", "release_held", "release_troubled"),
        *("release_aborting", "release_not_undone", "release_completed"),
    )
    assert ("reply_broadcast" in reply) == shown
    assert reply.get("reply_broadcast", True) is True


def test_the_end_of_a_critical_alert_is_said_in_the_thread() -> None:
    told = of_state("resolved")
    assert slack_reply(told) is None
    assert slack_reply(replace(told, severity=Severity.CRITICAL)) is not None


def test_a_reply_says_when_it_comes_instead_of_a_page() -> None:
    reply = slack_reply(replace(of_state("firing"), instead_of=("pagerduty",)), mention=MENTION)
    assert reply is not None
    assert reply["reply_broadcast"] is True
    assert "has not accepted this page" in reply["blocks"][0]["text"]["text"]


# --- all at once


def test_everything_at_once_is_within_the_limits_and_nothing_is_missing() -> None:
    alerts = tuple(
        replace(
            FULL_ALERT,
            alertname=f"KubernetesDeploymentReplicasMismatch{n}",
            summary="s" * 239,
            runbook_url=f"https://wiki.example.com/runbooks/{n}",
        )
        for n in range(10)
    )
    images = tuple(
        (f"container-{n}", "registry.example.com/shop/checkout:v" + "1" * 60) for n in range(9)
    )
    told = replace(
        FULL,
        state="did_not_help",
        reason=Reason.ROLLBACK_DID_NOT_HELP,
        alerts=alerts,
        more=110,
        bad=replace(BAD, images=images),
        good=replace(GOOD, images=images[:5]),
        namespace="n" * 63,
        deployment="d" * 100,
        actor="ann@example.com",
        why="w" * 200,
        detail="d" * 240,
        instead_of=("pagerduty",),
        instead_for=timedelta(minutes=1),
        site=replace(SITE, contacts=CONTACTS),
    )
    body = slack(told, mention=MENTION, doubtful=True)
    assert slack_faults(body, MENTION) == []
    text = "\n".join(sections(told))
    for label in ("Fallback", "Now", "To do", "Where", "Revision", "Not reverted", "Why", "Links"):
        assert f"*{label}:*" in text, label
    for label in ("Undo this", "Undo this by API", "Reach the API"):
        assert f"*{label}:*" in text, label
    assert "Call DevOps" in text
    assert "|Silence>" in text
