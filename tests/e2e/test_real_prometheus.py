"""What we take for granted of Prometheus, shown on a real one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from receiver import demo
from receiver.clock import SystemClock
from receiver.controller.ports import Condition, Finding, Subject
from receiver.controller.setup import SWITCH
from receiver.demo import pair, shop
from receiver.demo.people import People
from receiver.prometheus import Naming, PrometheusApi
from receiver.promql import comparisons
from receiver.sandbox import Sandbox
from tests.e2e.processes import get, served, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

RULES = r"""
groups:
- name: shop
  interval: 1s
  rules:
  - alert: ErrorRatioHigh
    # Comments and line breaks are gone from what the API shows.
    expr: |
      sum by (namespace, deployment) (rate(errors_total[4s]))
        / sum by (namespace, deployment) (rate(requests_total{path!="a > b"}[4s])) > 0.05
    labels: {severity: critical}
  - alert: Gone
    expr: absent(requests_total)
  - alert: WithAFloor
    expr: (errors_total > 1000) AND ON (deployment) (requests_total >= BOOL 0) == 1
  - alert: Filtered
    expr: count(requests_total > 1e9) > 0
  - alert: NotANumber
    expr: nothing_total / nothing_total > 0.5
  - alert: Faulty
    expr: requests_total * on (namespace) requests_total > 0
"""


@dataclass
class Exporter:
    """Counts requests of two Deployments. `failing`: checkout fails all of its requests."""

    failing: bool = False
    silent: bool = False
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, pair.HOST, 0).start()
        try:
            yield "{}:{}".format(*runner.addresses[0][:2])
        finally:
            await runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = ["nothing_total 0"]
        for name in ("checkout", "cart"):
            more = {"requests_total": 10, "errors_total": 10 * (self.failing and name != "cart")}
            for metric, by in more.items():
                value = self.counts[metric, name] = self.counts.get((metric, name), 0) + by
                if not self.silent:
                    lines.append(f'{metric}{{namespace="shop",deployment="{name}"}} {value}')
        return web.Response(text="\n".join([*lines, ""]), content_type="text/plain")


async def test_true_false_no_data_and_no_answer_are_told_apart(
    tmp_path: Path, programs: pair.Programs
) -> None:
    rules, exporter = tmp_path / "rules.yml", Exporter(failing=True)
    rules.write_text(RULES)
    subject = Subject(namespace="shop", deployment="checkout", track="stable")
    async with (
        exporter.serve() as scraped,
        contextlib.AsyncExitStack() as monitoring,
    ):
        url = await monitoring.enter_async_context(
            pair.prometheus(
                programs.prometheus,
                tmp_path,
                scrape={"shop": scraped},
                alertmanagers=[],
                rules=rules,
            )
        )
        api = PrometheusApi(url, "", Naming())

        async def becomes(alert: str, want: Callable[[Finding], bool]) -> Finding:
            found = await api.ask(alert, subject)
            async with asyncio.timeout(20):
                while not want(found):
                    await asyncio.sleep(0.2)
                    found = await api.ask(alert, subject)
            return found

        found = await becomes("ErrorRatioHigh", lambda f: f.condition is Condition.TRUE)
        assert found.text.startswith(
            "1: sum by (namespace, deployment) (rate(errors_total[4s])) / "
        )
        cart = await api.ask("ErrorRatioHigh", Subject(namespace="shop", deployment="cart"))
        assert cart.condition is Condition.FALSE, cart
        other = await api.ask("ErrorRatioHigh", Subject(namespace="shop", deployment="other"))
        assert other.condition is Condition.NO_DATA, other

        exporter.failing = False
        found = await becomes("ErrorRatioHigh", lambda f: f.condition is not Condition.TRUE)
        assert found.condition is Condition.FALSE
        assert found.text.startswith("0: ")

        said = {name: await api.ask(name, subject) for name in NAMED}
        assert {name: finding.condition for name, finding in said.items()} == NAMED, said

        exporter.silent = True
        found = await becomes("ErrorRatioHigh", lambda f: f.condition is not Condition.FALSE)
        assert found.condition is Condition.NO_DATA
        await monitoring.aclose()
        assert (await api.ask("ErrorRatioHigh", subject)).condition is Condition.UNREACHABLE
        await api.close()


NAMED = {
    "Gone": Condition.UNKNOWN,
    "WithAFloor": Condition.FALSE,
    "Filtered": Condition.NO_DATA,
    "NotANumber": Condition.NO_DATA,
    "Faulty": Condition.UNKNOWN,
    "Nobodys": Condition.UNKNOWN,
}


EXPRESSIONS = [
    "a > 1",
    "a / b > 0.05",
    "0.05 < a < 0.5",
    "a > b > c",
    "canary > ignoring (track) 2 * stable",
    "a >= on (x) group_left (y) b",
    "a > 1 and on (job) b > 10",
    "a > 1 AND b < 2 OR c != 3",
    "(a > 1 or b > 2) and c > 3",
    "a > 1 unless on () maintenance",
    "(a > bool 1) == 1",
    'a{x="b > c and d"} > 1',
    "sum(a) by (and, or) > 1",
    "max_over_time(a[1h:1m] offset 5m) > 1e-3",
    "time() - a > 60",
    "a ^ 2 * 3 % 4 != -Inf",
]


async def test_the_sides_of_an_expression_are_expressions_and_so_is_what_the_api_makes_of_it(
    tmp_path: Path, programs: pair.Programs
) -> None:
    rules = tmp_path / "rules.yml"
    document = [{"alert": f"A{i}", "expr": each} for i, each in enumerate(EXPRESSIONS)]
    rules.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": document}]}))
    async with pair.prometheus(
        programs.prometheus, tmp_path, scrape={}, alertmanagers=[], rules=rules
    ) as url:
        found = await get(f"{url}/api/v1/rules", type="alert")
        shown = [rule["query"] for rule in found["data"]["groups"][0]["rules"]]
        assert len(shown) == len(EXPRESSIONS)
        for written, query in zip(EXPRESSIONS, shown, strict=True):
            ours, theirs = comparisons(written), comparisons(query)
            assert ours is not None
            assert theirs is not None
            assert [len(c) for c in ours] == [len(c) for c in theirs], query
            for side in [side for comparison in (*ours, *theirs) for side in comparison]:
                answer = await get(f"{url}/api/v1/query", query=side)
                assert answer["status"] == "success", (written, side, answer)


@dataclass
class World:
    """A bad release that was just undone, and who watches it."""

    people: People
    alertmanager: str
    monitoring: contextlib.AsyncExitStack

    async def ends(self, words: str) -> str:
        """Return all of the Slack message with these words, once it is there."""
        await until(lambda: any(words in m["text"] for _, m in self.people.slack), words)
        return next(str(m) for _, m in self.people.slack if words in m["text"])


@contextlib.asynccontextmanager
async def undone(home: Path, programs: pair.Programs) -> AsyncIterator[World]:
    sandbox, people = Sandbox(SystemClock()), People()
    store = shop.Shop(lambda: sandbox.list("Pod"))
    async with contextlib.AsyncExitStack() as stack:
        kubernetes = await stack.enter_async_context(sandbox.serve())
        people_url = await stack.enter_async_context(people.serve())
        exporter = await stack.enter_async_context(store.serve())
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        config = demo.write_config(
            home, sandbox.kubeconfig(kubernetes), people_url, verify_within="20s"
        )
        port = pair.free_port()
        webhook = pair.Webhook(
            url=f"http://{pair.HOST}:{port}/api/v1/alerts", token_file=home / "webhook-token"
        )
        managers = await stack.enter_async_context(
            pair.alertmanagers(programs.alertmanager, home, [webhook])
        )
        rules = home / "rules.yml"
        rules.write_text(shop.RULES)
        monitoring = await stack.enter_async_context(contextlib.AsyncExitStack())
        prometheus = await monitoring.enter_async_context(
            pair.prometheus(
                programs.prometheus,
                home,
                scrape={"shop": exporter},
                alertmanagers=managers,
                rules=rules,
            )
        )
        document = yaml.safe_load(config.read_text())
        document["prometheus"] = {"url": prometheus}
        config.write_text(yaml.safe_dump(document))
        await stack.enter_async_context(served(config, port, home / "service.log"))
        labels = {"rollback-receiver/enabled": "true"}
        for tag in ("v1", "v2"):
            sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:{tag}", labels=labels)
            await until(lambda tag=tag: demo.serves(sandbox, tag), tag)  # type: ignore[misc] # mypy and defaults
        await asyncio.sleep(3)
        sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:v3-{shop.BROKEN_TAG}")
        await until(
            lambda: any(
                write.template_changed and write.by == "rollback-receiver"
                for write in sandbox.writes
            ),
            "it is rolled back",
        )
        yield World(people=people, alertmanager=managers[0], monitoring=monitoring)


async def test_a_rollback_is_proven_by_the_prometheus_that_asked_for_it(
    tmp_path: Path, programs: pair.Programs
) -> None:
    async with undone(tmp_path, programs) as world:
        told = await world.ends("RECOVERED")
        assert "Prometheus on ErrorRatioHigh: false: 0" in told


async def test_a_prometheus_that_dies_after_the_rollback_is_no_recovery(
    tmp_path: Path, programs: pair.Programs
) -> None:
    async with undone(tmp_path, programs) as world:
        await world.monitoring.aclose()
        # Alertmanager hears nothing more of the alert, and says that it resolved.
        told = await world.ends("unconfirmed")
        assert "1 alert resolved" in told
        assert "Prometheus on ErrorRatioHigh: unreachable" in told
        assert world.people.pages[-1]["event_action"] == "trigger"


async def test_a_silence_after_the_rollback_is_no_recovery(
    tmp_path: Path, programs: pair.Programs
) -> None:
    async with undone(tmp_path, programs) as world:
        now = SystemClock().now()
        silence = {
            "matchers": [{"name": "alertname", "value": "ErrorRatioHigh", "isRegex": False}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "somebody",
            "comment": "it is loud",
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{world.alertmanager}/api/v2/silences", json=silence) as answer,
        ):
            assert answer.status == 200, await answer.text()
        told = await world.ends("unconfirmed")
        assert "no resolved came for ErrorRatioHigh (a silence holds it back)" in told
        assert "Prometheus on ErrorRatioHigh: false: 0" in told
