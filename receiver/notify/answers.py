"""What an answer means: a table for each service that has its own words, and `Retry-After`."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from receiver.controller.ports import Delivery

LONGEST_WAIT = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer. `text` is the beginning of its body; it is looked at, and never passed on."""

    status: int
    text: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an answer means. `word` is one of the vendor's own, from the tables here, or "".

    `data` is what an answer in JSON held, where somebody has a use for it. It is untrusted.
    """

    delivery: Delivery
    word: str = ""
    retry_after: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


Judge: TypeAlias = Callable[[Answer], Verdict]

_STATUSES: Mapping[int, Delivery] = MappingProxyType(
    {
        401: Delivery.UNAUTHORIZED,
        402: Delivery.UNAUTHORIZED,
        403: Delivery.UNAUTHORIZED,
        407: Delivery.UNAUTHORIZED,
        408: Delivery.AMBIGUOUS,
        425: Delivery.AMBIGUOUS,
        429: Delivery.RATE_LIMITED,
    }
)

# Slack's words. Of a webhook: its changelog of 2016-05-17, and "Handling errors" of
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
# Of its Web API: https://docs.slack.dev/reference/methods/chat.postMessage, and chat.update there.
_REJECTED = (
    "invalid_payload invalid_blocks invalid_blocks_format invalid_attachments "
    "invalid_metadata_format invalid_metadata_schema invalid_json invalid_arguments "
    "missing_text_or_fallback_or_attachments msg_blocks_too_long msg_too_long no_text "
    "too_many_attachments too_many_contact_cards metadata_too_large user_not_found"
)
_UNAUTHORIZED = (
    "action_prohibited posting_to_general_channel_denied invalid_token invalid_auth token_revoked "
    "token_expired account_inactive missing_scope not_authed accesslimited access_denied "
    "no_permission_to_post org_login_required not_allowed_token_type two_factor_setup_required "
    "enterprise_is_restricted team_access_not_granted method_deprecated"
)
_GONE = (
    "no_service no_service_id no_active_hooks no_team team_disabled channel_not_found "
    "channel_is_archived is_archived not_in_channel restricted_action "
    "restricted_action_read_only_channel restricted_action_thread_only_channel "
    "restricted_action_thread_locked restricted_action_non_threadable_channel "
    "ekm_access_denied no_permission messages_tab_disabled team_not_found"
)
_AMBIGUOUS = (
    "rollup_error internal_error fatal_error service_unavailable request_timeout update_failed"
)
# Slack moves a workspace or a channel just now: nothing was posted, and soon it can be.
_NOT_NOW = "team_added_to_org external_channel_migrating"
# The message that was meant is there no more, or can be changed no more.
_RETIRED = (
    "message_not_found cant_update_message edit_window_closed is_inactive block_mismatch "
    "thread_not_found cannot_reply_to_message"
)
RETIRED = frozenset(_RETIRED.split())
SLACK_WORDS: Mapping[str, Delivery] = MappingProxyType(
    {
        word: delivery
        for words, delivery in (
            ("ratelimited rate_limited", Delivery.RATE_LIMITED),
            (_REJECTED, Delivery.REJECTED),
            (_UNAUTHORIZED, Delivery.UNAUTHORIZED),
            (_GONE, Delivery.GONE),
            (_RETIRED, Delivery.GONE),
            (_AMBIGUOUS, Delivery.AMBIGUOUS),
            (_NOT_NOW, Delivery.NOT_SENT),
        )
        for word in words.split()
    }
)


def slack(answer: Answer) -> Verdict:
    """Judge the answer of an incoming webhook. Its word says more than its status."""
    said = answer.text.strip()
    if answer.status == 200:  # noqa: PLR2004 - HTTP
        # A captive portal answers 200, too: only Slack says exactly this.
        return Verdict(delivery=Delivery.DELIVERED if said == "ok" else Delivery.AMBIGUOUS)
    return _slack_refusal(answer, said)


def slack_api(answer: Answer) -> Verdict:
    """Judge the answer of a method of the Web API: what says no says so with a 200, mostly.

    An error of a word that nobody knows is an error all the same: nothing was posted.
    """
    found = _object(answer.text)
    if answer.status == 200 and found.get("ok") is True:  # noqa: PLR2004 - HTTP
        metadata = found.get("response_metadata")
        warnings = metadata.get("warnings") if isinstance(metadata, dict) else None
        cut = isinstance(warnings, list) and "message_truncated" in warnings
        word = "message_truncated" if cut else ""
        return Verdict(delivery=Delivery.DELIVERED, word=word, data=found)
    said = found.get("error")
    if answer.status == 200 and (found.get("ok") is not False or not isinstance(said, str)):  # noqa: PLR2004 - HTTP
        return Verdict(delivery=Delivery.AMBIGUOUS)
    if answer.status == 200 and said not in SLACK_WORDS:  # noqa: PLR2004 - HTTP
        return Verdict(delivery=Delivery.REJECTED)
    return _slack_refusal(answer, said if isinstance(said, str) else "")


def _slack_refusal(answer: Answer, said: str) -> Verdict:
    word = said if said in SLACK_WORDS else ""
    limited = word and SLACK_WORDS[word] is Delivery.RATE_LIMITED
    if answer.status == 429 or limited:  # noqa: PLR2004 - HTTP
        wait = answer.retry_after
        return Verdict(
            delivery=Delivery.RATE_LIMITED,
            word=word if limited else "",
            retry_after=_retry_after_of(answer.text) if wait is None else wait,
        )
    if word and (answer.status == 200 or answer.status >= 400):  # noqa: PLR2004 - HTTP
        return Verdict(delivery=SLACK_WORDS[word], word=word, retry_after=answer.retry_after)
    if answer.status in (404, 410):
        return Verdict(delivery=Delivery.GONE)
    return _usual(answer)


def pagerduty(answer: Answer) -> Verdict:
    """Judge the answer of the Events API v2 (https://developer.pagerduty.com/docs/events-api-v2).

    202 is taken, 400 never will be; unless it is the routing key that 400 complains about, and then
    the page is worth keeping until somebody mends the key. So it is for a wrong endpoint.
    """
    if answer.status == 202:  # noqa: PLR2004 - HTTP
        return Verdict(delivery=Delivery.DELIVERED)
    if answer.status == 400 and re.search(r"routing[_ ]key", answer.text, re.IGNORECASE):  # noqa: PLR2004 - HTTP
        return Verdict(delivery=Delivery.UNAUTHORIZED, word="routing_key")
    if answer.status in (404, 405, 410):
        return Verdict(delivery=Delivery.UNAUTHORIZED, word="endpoint")
    return _usual(answer)


def webhook(answer: Answer) -> Verdict:
    """Judge the answer of somebody's own endpoint: every 2xx is a yes.

    409 is that of a receiver that is still busy with the same `Idempotency-Key`. A wrong path is
    for a person to mend, and the message worth keeping until then; 410 says that nobody will.
    """
    if 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP
        return Verdict(delivery=Delivery.DELIVERED)
    if answer.status in (404, 405):
        return Verdict(delivery=Delivery.UNAUTHORIZED, word="endpoint")
    if answer.status == 410:  # noqa: PLR2004 - HTTP
        return Verdict(delivery=Delivery.GONE)
    if answer.status == 409:  # noqa: PLR2004 - HTTP
        return Verdict(delivery=Delivery.AMBIGUOUS, retry_after=answer.retry_after)
    return _usual(answer)


def _usual(answer: Answer) -> Verdict:
    """Judge by the status alone.

    What became of a message is known of a 4xx only. A 3xx is not followed: a POST would become a
    GET there, and the message would be lost while a page says 200.
    """
    refused = 400 <= answer.status < 500  # noqa: PLR2004 - HTTP
    default = Delivery.REJECTED if refused else Delivery.AMBIGUOUS
    delivery = _STATUSES.get(answer.status, default)
    return Verdict(delivery=delivery, retry_after=answer.retry_after)


_SECONDS = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]*)?(?:[eE][0-9]{1,3})?")


def retry_after(header: str | None, now: datetime) -> float | None:
    """Read `Retry-After` (RFC 9110, 10.2.3) in seconds from 0 to 600; None: none, or junk.

    Seconds may have a fraction, as some proxies send it. A date is compared with `now`.
    """
    said = (header or "").strip()
    if _SECONDS.fullmatch(said):
        return _clamped(float(said))
    try:
        moment = parsedate_to_datetime(said)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return _clamped((aware - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        # The library answers odd dates with odd errors.
        return None


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _object(body: str) -> dict[str, Any]:
    """Return the object that a body is in JSON, an empty one for everything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _retry_after_of(body: str) -> float | None:
    """Return `retry_after` of the JSON that Slack sends with a 429, None when it is not there."""
    seconds = _object(body).get("retry_after")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    # Not a number is smaller and larger than nothing; a huge integer is no float.
    return float(_clamped(seconds)) if seconds >= 0 or seconds < 0 else None
