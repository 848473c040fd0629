"""Asks Prometheus whether an alert's expression is true, false, or says nothing for want of data.

One look at the rules, then instant queries: the expression as it is, and its sides. All of it
within one deadline, each answer bounded; no redirects, proxies or cookies. Whatever goes wrong is a
`Finding`, too: nothing is proven then, and the caller looks again. Which critical alerts fire is
one query.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import aiohttp

from receiver import __version__
from receiver import alerts as al
from receiver.controller.ports import Condition, Finding, Subject
from receiver.prometheus import answers as an
from receiver.promql import Comparison, comparisons

DEADLINE = 5.0
# A list of all rules, should the API not filter by name; and any one vector.
RULES_READ, VECTOR_READ = 8 * 2**20, 2 * 2**20
# Expressions that are longer are posted; a proxy may let us GET only.
URL_LENGTH = 2000
RULES_MOST, CONNECTIONS = 8, 10
EXPRESSION, TEXT = 120, 240
# What fires, by the series that Prometheus writes of its own alerts.
CRITICAL = 'ALERTS{alertstate="firing",severity="critical"}'
CRITICAL_MOST, NAME = 20, 100
TOKEN_READ = 16 * 1024

_OK = 200
# The first of these that any rule of that name has is what is said.
_ORDER = tuple(Condition)


class _NoAnswerError(Exception):
    """It did not answer, or not as Prometheus does. The text is ours and holds no secret."""


class _NotEvaluatedError(Exception):
    """Prometheus cannot evaluate this very query."""


def open_session() -> aiohttp.ClientSession:
    """Return a session that does nothing of its own accord."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=CONNECTIONS),
        timeout=aiohttp.ClientTimeout(total=DEADLINE),
        headers={
            "User-Agent": f"rollback-receiver/{__version__}",
            "Accept-Encoding": "identity",
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
    )


class PrometheusApi:
    """The HTTP API below `url`. The token in `token_file` ("": none) is read at each use."""

    def __init__(
        self,
        url: str,
        token_file: str,
        naming: an.Naming,
        session: Callable[[], aiohttp.ClientSession] = open_session,
    ) -> None:
        self._url = url.rstrip("/")
        self._host = urlsplit(url).hostname or ""
        self._token_file = token_file
        self._naming = naming
        self._make = session
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def ask(self, alertname: str, subject: Subject) -> Finding:
        """Return what the expression of an alert says now. Raises nothing."""
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._ask(alertname, subject)
        except TimeoutError:
            return self._unreachable(f"no answer within {DEADLINE:.0f} s")
        except _NoAnswerError as error:
            return self._unreachable(str(error))
        except ValueError:
            return self._unreachable("it does not speak as Prometheus does")
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is proven then
            # Its own text may hold anything.
            return self._unreachable(type(error).__name__)

    async def critical(self, subjects: tuple[Subject, ...]) -> tuple[str, ...] | None:
        """Return the names of critical alerts that fire for any of these. Raises nothing.

        Sorted, at most `CRITICAL_MOST`; None: nobody can tell.
        """
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._critical(subjects)
        except Exception:  # noqa: BLE001 - whatever it is, nobody can tell then
            return None

    async def close(self) -> None:
        """Close the connections; nothing is asked from now on."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _critical(self, subjects: tuple[Subject, ...]) -> tuple[str, ...] | None:
        body = await self._get("query", _asking(CRITICAL), VECTOR_READ)
        found = an.vector(body)
        if found is None or not an.whole(body):
            return None
        names = {
            al.text(sample.labels.get("alertname", ""), NAME) or "(no name)"
            for sample in found
            if an.troubles(subjects, sample.labels, self._naming)
        }
        return tuple(sorted(names)[:CRITICAL_MOST])

    def _unreachable(self, why: str) -> Finding:
        text = al.text(f"no answer from {self._host}: {why}", TEXT)
        return Finding(condition=Condition.UNREACHABLE, text=text)

    async def _ask(self, alertname: str, subject: Subject) -> Finding:
        wanted = {"type": "alert", "rule_name[]": alertname, "exclude_alerts": "true"}
        body = await self._get("rules", wanted, RULES_READ)
        # Rules may share a name, one for each team, say: first those that could mean us.
        rules = [
            rule
            for rule in an.rules_named(body, alertname)
            if an.concerns(subject, an.alert_labels(rule, {}), self._naming)
        ]
        rules.sort(key=lambda rule: subject.deployment not in rule.query)
        if not rules:
            return _finding(Condition.UNKNOWN, "there is no rule of that name")
        found = [await self._evaluate(rule, subject) for rule in rules[:RULES_MOST]]
        # One that is true is true; one that is false with data speaks for the others that say
        # nothing about this target.
        first = min(found, key=lambda finding: _ORDER.index(finding.condition))
        if len(rules) > RULES_MOST and first.condition is not Condition.TRUE:
            return _finding(Condition.UNKNOWN, f"{len(rules)} rules have that name")
        return first

    async def _evaluate(self, rule: an.Rule, subject: Subject) -> Finding:
        shown = al.text(rule.query, EXPRESSION)
        try:
            now = await self._query(rule.query)
            if now is None:
                return _finding(Condition.UNKNOWN, f"it is no vector: {shown}")
            if ours := self._ours(now, rule, subject):
                return _finding(Condition.TRUE, f"{_largest(ours)}: {shown}")
            sides = comparisons(rule.query)
            if sides is None:
                return _finding(Condition.UNKNOWN, f"empty, which may mean no data: {shown}")
            return await self._false(rule, subject, sides, shown)
        except _NotEvaluatedError as error:
            return _finding(Condition.UNKNOWN, f"{error}: {shown}")

    async def _false(
        self, rule: an.Rule, subject: Subject, sides: tuple[Comparison, ...], shown: str
    ) -> Finding:
        """Tell false from no data: every side has data, and one of each comparison is ours."""
        value = ""
        for comparison in sides:
            about_us: list[an.Sample] = []
            for side in comparison:
                found = await self._query(side)
                if found is None:
                    continue  # a single number is there always
                if not (known := [s for s in found if not math.isnan(s.value)]):
                    return _finding(Condition.NO_DATA, f"no data: {al.text(side, EXPRESSION)}")
                about_us += self._ours(known, rule, subject)
            if not about_us:
                text = f"no data about this Deployment: {al.text(comparison[0], EXPRESSION)}"
                return _finding(Condition.NO_DATA, text)
            value = value or _largest(about_us)
        return _finding(Condition.FALSE, f"{value}: {shown}")

    def _ours(
        self, samples: list[an.Sample] | tuple[an.Sample, ...], rule: an.Rule, subject: Subject
    ) -> list[an.Sample]:
        return [
            sample
            for sample in samples
            if an.concerns(subject, an.alert_labels(rule, sample.labels), self._naming)
        ]

    async def _query(self, query: str) -> tuple[an.Sample, ...] | None:
        return an.vector(await self._get("query", _asking(query), VECTOR_READ))

    async def _get(self, path: str, parameters: Mapping[str, str], most: int) -> bytes:
        if self._closed:
            raise _NoAnswerError("we are shutting down")
        if self._session is None:
            self._session = self._make()
        url = f"{self._url}/api/v1/{path}"
        asked = urlencode(parameters)
        headers = self._authorization()
        if len(asked) <= URL_LENGTH:
            call = self._session.get(url, params=parameters, headers=headers, allow_redirects=False)
        else:
            call = self._session.post(url, data=parameters, headers=headers, allow_redirects=False)
        async with call as response:
            body = await _bounded(response, most)
            if response.status == _OK:
                return body
            if (word := an.error_type(body)) in an.QUERY_FAULTS:
                raise _NotEvaluatedError(f"it cannot be evaluated ({word})")
            raise _NoAnswerError(f"{response.status} {word}".strip())

    def _authorization(self) -> dict[str, str]:
        if not self._token_file:
            return {}
        try:
            with Path(self._token_file).open("rb") as file:
                token = file.read(TOKEN_READ).decode("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError):
            token = ""
        if not token or not token.isascii() or not token.isprintable():
            raise _NoAnswerError("prometheus.token_file holds no token")
        return {"Authorization": f"Bearer {token}"}


def _asking(query: str) -> dict[str, str]:
    return {"query": query, "timeout": f"{DEADLINE:.0f}s"}


async def _bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the whole body; part of a list could hide what is true."""
    read = bytearray()
    while piece := await response.content.read(most + 1 - len(read)):
        read += piece
        if len(read) > most:
            response.close()
            raise _NoAnswerError(f"the answer is larger than {most} bytes")
    return bytes(read)


def _finding(condition: Condition, text: str) -> Finding:
    return Finding(condition=condition, text=al.text(text, TEXT))


def _largest(samples: list[an.Sample]) -> str:
    """Return one value of them for people: the largest."""
    values = [sample.value for sample in samples if not math.isnan(sample.value)]
    return f"{max(values):.4g}" if values else "NaN"
