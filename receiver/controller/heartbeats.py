"""The Watchdogs: who sent which, when last, in the ConfigMap that the replicas beat in.

An Alertmanager keeps its connection, so most replicas hear of it through another. The peers of an
Alertmanager cluster bear different names and one of them sends: silent is a Watchdog, told from
others by its labels, when none of those that have ever sent it does. As with the beats of replicas,
time is what this process has seen, on its own monotonic clock.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from receiver.alerts import text
from receiver.controller.setup import Setup

# No replica is named like this: a host name starts with a letter or a digit (RFC 1123).
PREFIX = "_watchdog."
# What was not heard for this long is expected no more. Judged by the wall clock: that may be wrong
# by hours, and not by days.
EXPECTED_FOR = timedelta(days=7)
SOURCES_KEPT, URL = 100, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An Alertmanager that sent a Watchdog: the last `receipt`, and when this process saw it.

    `lives`: it has sent one since this process began to look.
    """

    url: str
    watchdog: str
    receipt: str
    seen_at: float
    posted_at: datetime
    lives: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A Watchdog by its fingerprint, those that used to send it, and whether none does now.

    `silent` None: this process has not looked for long enough to know.
    """

    watchdog: str
    silent: bool | None
    urls: tuple[str, ...]


class Heartbeats:
    """The Watchdogs, as far as this replica knows of them."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._sources: dict[str, Source] = {}
        self._unsaid: dict[str, str] = {}
        self._listened_at: float | None = None
        self._count = 0
        self._unreadable = False

    def heard(self, url: str, watchdog: str) -> None:
        """Take note that an Alertmanager posted a Watchdog here; the next beat tells of it."""
        url = text(url, URL)
        key = PREFIX + sha256(f"{url} {watchdog}".encode("utf-8", "replace")).hexdigest()[:12]
        if key not in self._sources and len(self._sources) >= SOURCES_KEPT:
            self._setup.log.warning("watchdog_ignored", sources=SOURCES_KEPT)
            return
        self._count += 1
        now = self._setup.clock.now()
        said = {
            "alertmanager": url,
            "watchdog": text(watchdog, 100),
            "at": now.isoformat(),
            "by": f"{self._setup.replica}/{self._count}",
        }
        receipt = json.dumps(said, ensure_ascii=False)
        self._unsaid[key] = receipt
        self._see(key, receipt, lives=True)
        self._setup.metrics.watchdog_timestamp_seconds.set(now.timestamp())

    def news(self) -> dict[str, str | None]:
        """Return what the next beat has to say: None for a source that is expected no more."""
        now = self._setup.clock.now()
        old = [k for k, s in self._sources.items() if now - s.posted_at > EXPECTED_FOR]
        return dict.fromkeys(old) | self._unsaid

    def told(self, news: Mapping[str, str | None], found: Mapping[str, str], *, deaf: bool) -> None:
        """Take note of what was said with a beat, and of all that the beats say since.

        `deaf`: for longer than a claim lasts nobody could be heard.
        """
        self._listened_at = now = self._setup.clock.monotonic()
        for key, receipt in news.items():
            if self._unsaid.get(key) == receipt:
                self._unsaid.pop(key, None)
        if deaf:
            # The silence was ours: the others have their time once more.
            self._sources = {k: replace(s, seen_at=now) for k, s in self._sources.items()}
        for key, receipt in found.items():
            if key.startswith(PREFIX):
                self._see(key, receipt, lives=key in self._sources)
        for key in self._sources.keys() - found.keys() - self._unsaid.keys():
            del self._sources[key]
        self._unreadable = any(k not in self._sources for k in found if k.startswith(PREFIX))
        silences = self.silences()
        self._setup.metrics.watchdogs_silent.set(sum(bool(s.silent) for s in silences))

    def _see(self, key: str, receipt: str, *, lives: bool) -> None:
        known = self._sources.get(key)
        if known is not None and known.receipt == receipt:
            return
        try:
            said = json.loads(receipt)
            self._sources[key] = Source(
                url=str(said["alertmanager"]),
                watchdog=str(said["watchdog"]),
                receipt=receipt,
                seen_at=self._setup.clock.monotonic(),
                posted_at=datetime.fromisoformat(said["at"]),
                lives=lives,
            )
        except (ValueError, TypeError, LookupError):
            self._setup.log.warning("watchdog_unreadable", key=key)

    def silences(self) -> tuple[Silence, ...]:
        """Return every Watchdog that is expected, and whether it is silent now."""
        by_watchdog: dict[str, list[Source]] = {}
        for source in self._sources.values():
            by_watchdog.setdefault(source.watchdog, []).append(source)
        return tuple(
            Silence(
                watchdog=watchdog,
                silent=self._silent(sources),
                urls=tuple(sorted({s.url for s in sources})),
            )
            for watchdog, sources in sorted(by_watchdog.items())
        )

    def _silent(self, sources: list[Source]) -> bool | None:
        # Silence counts as far as we have listened.
        until, last = self._listened_at, max(s.seen_at for s in sources)
        if until is not None and until - last >= self._setup.silent_after:
            return True
        return False if any(s.lives for s in sources) else None

    @property
    def knows_all(self) -> bool:
        """Return whether a Watchdog that `silences` does not hold is expected no more."""
        if self._listened_at is None or self._unreadable:
            return False
        return self._setup.clock.monotonic() - self._listened_at < self._setup.timing.lasts

    @property
    def silent(self) -> bool | None:
        """Return whether a Watchdog is missing; None: none was ever heard, so nobody waits."""
        found = self.silences()
        return any(s.silent for s in found) if found else None
