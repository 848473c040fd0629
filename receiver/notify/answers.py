"""What an answer means: one table for Slack, one for PagerDuty, and `Retry-After`."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TypeAlias

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
    """What an answer means. `word` is one of the vendor's own, from the tables here, or ""."""

    delivery: Delivery
    word: str = ""
    retry_after: float | None = None


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

# Slack's words for a webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
# ("Handling errors"), its changelog of 2016-05-17, and chat.postMessage for what proxies pass on.
SLACK_WORDS: Mapping[str, Delivery] = MappingProxyType(
    {
        "ratelimited": Delivery.RATE_LIMITED,
        "rate_limited": Delivery.RATE_LIMITED,
        "invalid_payload": Delivery.REJECTED,
        "invalid_blocks": Delivery.REJECTED,
        "invalid_blocks_format": Delivery.REJECTED,
        "invalid_attachments": Delivery.REJECTED,
        "missing_text_or_fallback_or_attachments": Delivery.REJECTED,
        "msg_blocks_too_long": Delivery.REJECTED,
        "msg_too_long": Delivery.REJECTED,
        "no_text": Delivery.REJECTED,
        "too_many_attachments": Delivery.REJECTED,
        "metadata_too_large": Delivery.REJECTED,
        "user_not_found": Delivery.REJECTED,
        "action_prohibited": Delivery.UNAUTHORIZED,
        "posting_to_general_channel_denied": Delivery.UNAUTHORIZED,
        "invalid_token": Delivery.UNAUTHORIZED,
        "invalid_auth": Delivery.UNAUTHORIZED,
        "token_revoked": Delivery.UNAUTHORIZED,
        "token_expired": Delivery.UNAUTHORIZED,
        "account_inactive": Delivery.UNAUTHORIZED,
        "missing_scope": Delivery.UNAUTHORIZED,
        "not_authed": Delivery.UNAUTHORIZED,
        "accesslimited": Delivery.UNAUTHORIZED,
        "no_service": Delivery.GONE,
        "no_service_id": Delivery.GONE,
        "no_active_hooks": Delivery.GONE,
        "no_team": Delivery.GONE,
        "team_disabled": Delivery.GONE,
        "channel_not_found": Delivery.GONE,
        "channel_is_archived": Delivery.GONE,
        "is_archived": Delivery.GONE,
        "not_in_channel": Delivery.GONE,
        "restricted_action": Delivery.GONE,
        "ekm_access_denied": Delivery.GONE,
        "no_permission": Delivery.GONE,
        "rollup_error": Delivery.AMBIGUOUS,
        "internal_error": Delivery.AMBIGUOUS,
        "fatal_error": Delivery.AMBIGUOUS,
        "service_unavailable": Delivery.AMBIGUOUS,
        "request_timeout": Delivery.AMBIGUOUS,
    }
)


def slack(answer: Answer) -> Verdict:
    """Judge the answer of an incoming webhook. Its word says more than its status."""
    said = answer.text.strip()
    if answer.status == 200:  # noqa: PLR2004 - HTTP
        # A captive portal answers 200, too: only Slack says exactly this.
        return Verdict(delivery=Delivery.DELIVERED if said == "ok" else Delivery.AMBIGUOUS)
    if answer.status == 429:  # noqa: PLR2004 - HTTP
        wait = answer.retry_after
        return Verdict(
            delivery=Delivery.RATE_LIMITED,
            retry_after=_retry_after_of(said) if wait is None else wait,
        )
    word = said if said in SLACK_WORDS else ""
    if word and answer.status >= 400:  # noqa: PLR2004 - HTTP
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


def _retry_after_of(body: str) -> float | None:
    """Return `retry_after` of the JSON that Slack sends with a 429, None when it is not there."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    seconds = found.get("retry_after") if isinstance(found, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    # Not a number is smaller and larger than nothing; a huge integer is no float.
    return float(_clamped(seconds)) if seconds >= 0 or seconds < 0 else None
