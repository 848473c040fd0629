import json
from datetime import UTC, datetime

import pytest

from receiver.controller.ports import Delivery
from receiver.notify.answers import (
    SLACK_WORDS,
    Answer,
    Judge,
    pagerduty,
    retry_after,
    slack,
    slack_api,
    webhook,
)

NOW = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)
D = Delivery

SLACK = [
    (200, "ok", D.DELIVERED),
    (200, "ok\n", D.DELIVERED),
    (200, "", D.AMBIGUOUS),
    (200, "OK", D.AMBIGUOUS),
    (200, '{"ok":true}', D.AMBIGUOUS),
    (200, '{"ok":false,"error":"invalid_auth"}', D.AMBIGUOUS),
    (200, "invalid_payload", D.AMBIGUOUS),
    (200, "<html>Sign in to the airport</html>", D.AMBIGUOUS),
    (201, "ok", D.AMBIGUOUS),
    (202, "ok", D.AMBIGUOUS),
    (204, "", D.AMBIGUOUS),
    (301, "", D.AMBIGUOUS),
    (302, "ok", D.AMBIGUOUS),
    (307, "", D.AMBIGUOUS),
    (308, "", D.AMBIGUOUS),
    (400, "", D.REJECTED),
    (400, "a word of tomorrow", D.REJECTED),
    (400, "invalid_payload", D.REJECTED),
    (400, "invalid_blocks", D.REJECTED),
    (400, "invalid_blocks_format", D.REJECTED),
    (400, "invalid_attachments", D.REJECTED),
    (400, "missing_text_or_fallback_or_attachments", D.REJECTED),
    (400, "msg_blocks_too_long", D.REJECTED),
    (400, "msg_too_long", D.REJECTED),
    (400, "no_text", D.REJECTED),
    (400, "too_many_attachments", D.REJECTED),
    (400, "metadata_too_large", D.REJECTED),
    (400, "user_not_found", D.REJECTED),
    (401, "", D.UNAUTHORIZED),
    (402, "", D.UNAUTHORIZED),
    (403, "", D.UNAUTHORIZED),
    (403, "action_prohibited", D.UNAUTHORIZED),
    (403, "posting_to_general_channel_denied", D.UNAUTHORIZED),
    (403, "invalid_token", D.UNAUTHORIZED),
    (403, "invalid_auth", D.UNAUTHORIZED),
    (403, "token_revoked", D.UNAUTHORIZED),
    (403, "token_expired", D.UNAUTHORIZED),
    (403, "account_inactive", D.UNAUTHORIZED),
    (403, "missing_scope", D.UNAUTHORIZED),
    (403, "not_authed", D.UNAUTHORIZED),
    (403, "accesslimited", D.UNAUTHORIZED),
    (400, "invalid_token", D.UNAUTHORIZED),
    (404, "", D.GONE),
    (404, "<html>", D.GONE),
    (404, "no_service", D.GONE),
    (403, "no_service", D.GONE),
    (404, "no_service_id", D.GONE),
    (404, "no_active_hooks", D.GONE),
    (404, "no_team", D.GONE),
    (403, "team_disabled", D.GONE),
    (404, "channel_not_found", D.GONE),
    (410, "channel_is_archived", D.GONE),
    (410, "", D.GONE),
    (403, "is_archived", D.GONE),
    (403, "not_in_channel", D.GONE),
    (403, "restricted_action", D.GONE),
    (403, "ekm_access_denied", D.GONE),
    (403, "no_permission", D.GONE),
    (405, "", D.REJECTED),
    (407, "", D.UNAUTHORIZED),
    (408, "", D.AMBIGUOUS),
    (413, "", D.REJECTED),
    (415, "", D.REJECTED),
    (422, "", D.REJECTED),
    (425, "", D.AMBIGUOUS),
    (429, "", D.RATE_LIMITED),
    (429, "no_service", D.RATE_LIMITED),
    (400, "ratelimited", D.RATE_LIMITED),
    (503, "rate_limited", D.RATE_LIMITED),
    (500, "", D.AMBIGUOUS),
    (500, "rollup_error", D.AMBIGUOUS),
    (500, "internal_error", D.AMBIGUOUS),
    (500, "fatal_error", D.AMBIGUOUS),
    (503, "service_unavailable", D.AMBIGUOUS),
    (504, "request_timeout", D.AMBIGUOUS),
    (500, "update_failed", D.AMBIGUOUS),
    (503, "team_added_to_org", D.NOT_SENT),
    (503, "external_channel_migrating", D.NOT_SENT),
    (400, "invalid_metadata_format", D.REJECTED),
    (400, "invalid_metadata_schema", D.REJECTED),
    (400, "invalid_json", D.REJECTED),
    (400, "invalid_arguments", D.REJECTED),
    (400, "too_many_contact_cards", D.REJECTED),
    (403, "access_denied", D.UNAUTHORIZED),
    (403, "no_permission_to_post", D.UNAUTHORIZED),
    (403, "org_login_required", D.UNAUTHORIZED),
    (403, "not_allowed_token_type", D.UNAUTHORIZED),
    (403, "two_factor_setup_required", D.UNAUTHORIZED),
    (403, "enterprise_is_restricted", D.UNAUTHORIZED),
    (403, "team_access_not_granted", D.UNAUTHORIZED),
    (403, "method_deprecated", D.UNAUTHORIZED),
    (403, "restricted_action_read_only_channel", D.GONE),
    (403, "restricted_action_thread_only_channel", D.GONE),
    (403, "restricted_action_thread_locked", D.GONE),
    (403, "restricted_action_non_threadable_channel", D.GONE),
    (404, "messages_tab_disabled", D.GONE),
    (404, "team_not_found", D.GONE),
    (404, "message_not_found", D.GONE),
    (404, "cant_update_message", D.GONE),
    (404, "edit_window_closed", D.GONE),
    (404, "is_inactive", D.GONE),
    (404, "block_mismatch", D.GONE),
    (404, "thread_not_found", D.GONE),
    (404, "cannot_reply_to_message", D.GONE),
    (502, "<html>Bad Gateway</html>", D.AMBIGUOUS),
    (503, "", D.AMBIGUOUS),
    (504, "", D.AMBIGUOUS),
    (599, "", D.AMBIGUOUS),
]

WRONG_KEY = (
    '{"status":"invalid event","message":"Event object is invalid",'
    '"errors":["Length of \'routing_key\' is incorrect (should be 32 characters)"]}'
)
NO_SUMMARY = (
    '{"status":"invalid event","message":"Event object is invalid",'
    '"errors":["\'payload.summary\' is missing or blank"]}'
)
PAGERDUTY = [
    (202, '{"status":"success","message":"Event processed","dedup_key":"k"}', D.DELIVERED),
    (202, "", D.DELIVERED),
    (200, "ok", D.AMBIGUOUS),
    (200, "<html>", D.AMBIGUOUS),
    (204, "", D.AMBIGUOUS),
    (302, "", D.AMBIGUOUS),
    (400, "", D.REJECTED),
    (400, NO_SUMMARY, D.REJECTED),
    (400, WRONG_KEY, D.UNAUTHORIZED),
    (400, "Invalid routing key", D.UNAUTHORIZED),
    (401, "", D.UNAUTHORIZED),
    (402, "", D.UNAUTHORIZED),
    (403, "", D.UNAUTHORIZED),
    (404, "", D.UNAUTHORIZED),
    (405, "", D.UNAUTHORIZED),
    (407, "", D.UNAUTHORIZED),
    (408, "", D.AMBIGUOUS),
    (410, "", D.UNAUTHORIZED),
    (413, "", D.REJECTED),
    (422, "", D.REJECTED),
    (429, "", D.RATE_LIMITED),
    (500, "", D.AMBIGUOUS),
    (502, "<html>", D.AMBIGUOUS),
    (503, "", D.AMBIGUOUS),
    (504, "", D.AMBIGUOUS),
]


@pytest.mark.parametrize(("status", "text", "delivery"), SLACK)
def test_each_answer_of_slack_has_one_meaning(status: int, text: str, delivery: Delivery) -> None:
    assert slack(Answer(status=status, text=text)).delivery is delivery


def test_the_table_above_has_every_word_of_slack() -> None:
    assert {text for _, text, _ in SLACK} >= set(SLACK_WORDS)


@pytest.mark.parametrize(("status", "text", "delivery"), PAGERDUTY)
def test_each_answer_of_pagerduty_has_one_meaning(
    status: int, text: str, delivery: Delivery
) -> None:
    assert pagerduty(Answer(status=status, text=text)).delivery is delivery


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_the_web_api_means_the_same_by_its_words_whatever_the_status(status: int) -> None:
    for said, word, delivery in SLACK:
        # Of a webhook, a 200 and a 429 are what they are whatever they say.
        if word in SLACK_WORDS and said not in (200, 429):
            verdict = slack_api(
                Answer(status=status, text=json.dumps({"ok": False, "error": word}))
            )
            assert (verdict.delivery, verdict.word) == (delivery, word)


def test_a_message_that_was_cut_is_told() -> None:
    said = {"ok": True, "response_metadata": {"warnings": ["message_truncated"]}}
    verdict = slack_api(Answer(status=200, text=json.dumps(said)))
    assert (verdict.delivery, verdict.word) == (D.DELIVERED, "message_truncated")


@pytest.mark.parametrize(
    ("judge", "text", "good"),
    [
        (slack, "ok", [200]),
        (slack_api, '{"ok": true}', [200]),
        (pagerduty, "ok", [202]),
        (webhook, "", list(range(200, 300))),
    ],
    ids=["slack", "slack_api", "pagerduty", "webhook"],
)
def test_every_status_there_is_has_a_meaning_and_few_are_success(
    judge: Judge, text: str, good: list[int]
) -> None:
    found = {status: judge(Answer(status=status, text=text)).delivery for status in range(100, 600)}
    assert [status for status, said in found.items() if said is D.DELIVERED] == good


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        (30.0, "", 30.0),
        (30.0, '{"retry_after": 5}', 30.0),
        (None, '{"retry_after": 5}', 5.0),
        (None, '{"retry_after": 0.5}', 0.5),
        (None, '{"retry_after": -1}', 0.0),
        (None, '{"retry_after": 1e9}', 600.0),
        (None, '{"retry_after": ' + "9" * 400 + "}", 600.0),
        (None, '{"retry_after": NaN}', None),
        (None, '{"retry_after": Infinity}', 600.0),
        (None, '{"retry_after": true}', None),
        (None, '{"retry_after": "5"}', None),
        (None, "[5]", None),
        (None, "rate_limited", None),
        (None, "[" * 8000, None),
        (None, "", None),
    ],
)
def test_slack_may_say_how_long_to_wait_in_the_body_too(
    header: float | None, body: str, seconds: float | None
) -> None:
    verdict = slack(Answer(status=429, text=body, retry_after=header))
    assert (verdict.delivery, verdict.retry_after) == (D.RATE_LIMITED, seconds)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("12", 12.0),
        (" 12 ", 12.0),
        ("0.5", 0.5),
        ("1.", 1.0),
        ("1e2", 100.0),
        ("-5", 0.0),
        ("-0.5", 0.0),
        ("600", 600.0),
        ("601", 600.0),
        ("1e9", 600.0),
        ("1e999", 600.0),
        ("999999999999999", 600.0),
        ("Mon, 23 Nov 2026 03:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 04:00:30 +0100", 30.0),
        ("Monday, 23-Nov-26 03:00:30 GMT", 30.0),
        ("Mon Nov 23 03:00:30 2026", 30.0),
        ("Mon, 23 Nov 2026 03:00:30 -0000", 30.0),
        ("Mon, 23 Nov 2026 02:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2099 03:00:00 GMT", 600.0),
        (None, None),
        ("", None),
        (" ", None),
        ("soon", None),
        ("12 s", None),
        ("1_000", None),
        ("0x10", None),
        ("nan", None),
        ("inf", None),
        ("١٢", None),
        ("9" * 5000, None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("Mon, 23 Nov 99999 03:00:00 GMT", None),
        ("Mon, 23 Nov 2026 03:00:30 +9999999", None),
        ("\x00", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_and_bounded(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after(header, NOW) == seconds
