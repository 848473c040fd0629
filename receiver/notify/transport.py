"""One POST, and what came of it in one of seven words. No redirects, no retries, no secrets."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from receiver import __version__
from receiver.clock import Clock
from receiver.controller.ports import Delivery, Receipt

TOTAL, CONNECT = 10.0, 5.0
ANSWER = 8192
LONGEST_WAIT = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the other side said, its body cut to what is ever looked at."""

    status: int
    text: str
    retry_after: float | None


Judge = Callable[[Answer], Receipt]


class Transport:
    """Posts JSON."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: dict[str, Any], judge: Judge) -> Receipt:
        """Send once and judge the answer.

        The detail of a receipt names the kind of error and never the URL, which is a secret here.
        """
        try:
            async with self._open().post(url, json=body, allow_redirects=False) as response:
                read = await response.content.read(ANSWER)
                wait = retry_after(response.headers.get("Retry-After"), self._clock.now())
                text = read.decode("utf-8", "replace").strip()
                return judge(Answer(status=response.status, text=text, retry_after=wait))
        except (aiohttp.InvalidURL, ValueError):
            return Receipt(delivery=Delivery.UNAUTHORIZED, detail="the URL is not valid")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Receipt(delivery=Delivery.NOT_SENT, detail=type(error).__name__)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Receipt(delivery=Delivery.AMBIGUOUS, detail=type(error).__name__)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TOTAL, connect=CONNECT),
                headers={"User-Agent": f"rollback-receiver/{__version__}"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def retry_after(text: str | None, now: datetime) -> float | None:
    """Read `Retry-After` (RFC 9110, 10.2.3): seconds, also with a fraction, or an HTTP date."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (aware - now).total_seconds()
    if seconds != seconds:  # noqa: PLR0124 - NaN
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT)


def slack(answer: Answer) -> Receipt:
    """Judge an incoming webhook's answer (docs.slack.dev, handling errors)."""
    status = answer.status
    if status == 200:  # noqa: PLR2004 - HTTP
        # A captive portal answers 200, too: only Slack says exactly this.
        said = Delivery.DELIVERED if answer.text == "ok" else Delivery.AMBIGUOUS
    elif status == 403:  # noqa: PLR2004 - HTTP
        said = Delivery.UNAUTHORIZED
    elif status in (404, 410):
        said = Delivery.GONE
    else:
        said = _usual(status)
    return _receipt(said, answer)


def pagerduty(answer: Answer) -> Receipt:
    """Judge an Events API v2 answer: 202 is taken, 400 never will be."""
    if answer.status == 202:  # noqa: PLR2004 - HTTP
        return _receipt(Delivery.DELIVERED, answer)
    if answer.status in (401, 403):
        return _receipt(Delivery.UNAUTHORIZED, answer)
    return _receipt(_usual(answer.status), answer)


def _usual(status: int) -> Delivery:
    if status == 429:  # noqa: PLR2004 - HTTP
        return Delivery.RATE_LIMITED
    if status in (400, 413, 422):
        return Delivery.REJECTED
    # Of a 2xx or 3xx that is not theirs, and of a 5xx, nobody knows what became.
    return Delivery.AMBIGUOUS if status < 400 or status >= 500 else Delivery.UNAUTHORIZED  # noqa: PLR2004


def _receipt(delivery: Delivery, answer: Answer) -> Receipt:
    words = answer.text.split()
    said = words[0][:40] if len(words) == 1 and words[0].isidentifier() else ""
    return Receipt(
        delivery=delivery,
        detail=f"{answer.status} {said}".strip(),
        retry_after=answer.retry_after,
    )
