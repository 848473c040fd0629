"""What the dashboards ask, asked of a real Prometheus that saw a release and its rollback."""

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from receiver import demo
from receiver.clock import SystemClock
from receiver.controller.setup import SWITCH
from receiver.demo import pair, shop
from receiver.demo.people import People
from receiver.sandbox import Sandbox
from tests.dashboards.application import Application
from tests.dashboards.boards import (
    Question,
    asked_by_marks,
    asked_by_panels,
    boards,
    variables,
)
from tests.e2e.processes import served, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

CLOCK = SystemClock()
SHIPPED = Path(__file__).parents[2] / "alert_rules" / "release.yaml"
# What Grafana puts in. `cluster` is All: one cluster has no such label.
CHOSEN = {
    "cluster": ".*",
    "namespace": shop.NAMESPACE,
    "deployment": shop.DEPLOYMENT,
    "job": "rollback-receiver",
    "baseline": "10s",
    "__rate_interval": "5s",
}
BOARDS = boards()


@dataclass(frozen=True, slots=True)
class Seen:
    """A Prometheus, and from when to when it saw the story."""

    url: str
    begin: float
    end: float
    http: aiohttp.ClientSession

    async def ask(self, question: Question) -> list[dict[str, Any]]:
        """Return the series that a panel would draw; raises `ValueError` when it fails."""
        filled = question.filled(CHOSEN | {"__range": f"{self.end - self.begin:.0f}s"})
        span = {"start": self.begin, "end": self.end, "step": 1}
        when = {"time": self.end} if question.instant else span
        path = "query" if question.instant else "query_range"
        got = await self._get(path, {"query": filled} | when)
        found: list[dict[str, Any]] = got["result"]
        return [each for each in found if _numbers(each)]

    async def values(self, metric: str, label: str) -> list[str]:
        """Return the values of a label of a metric."""
        span = {"match[]": metric, "start": self.begin, "end": self.end}
        found: list[str] = await self._get(f"label/{label}/values", span)
        return found

    async def _get(self, path: str, params: dict[str, Any]) -> Any:
        async with self.http.get(f"{self.url}/api/v1/{path}", params=params) as answer:
            body = await answer.json()
        if body["status"] != "success":
            raise ValueError(body["error"])
        return body["data"]


def _numbers(series: dict[str, Any]) -> list[float]:
    """Return what can be drawn of a series."""
    points = series["values"] if "values" in series else [series["value"]]
    return [number for _, text in points if math.isfinite(number := float(text))]


@contextlib.asynccontextmanager
async def _seen(home: Path, programs: pair.Programs) -> AsyncIterator[Seen]:
    """Play a bad release that is rolled back, while one sink is down; yield who saw it."""
    sandbox, people = Sandbox(CLOCK), People()
    async with contextlib.AsyncExitStack() as stack:
        kubernetes = await stack.enter_async_context(sandbox.serve())
        people_url = await stack.enter_async_context(people.serve())
        exporter = await stack.enter_async_context(Application(sandbox).serve())
        sandbox.create_namespace(demo.STATE)
        sandbox.create("ConfigMap", {"metadata": {"name": SWITCH, "namespace": demo.STATE}})
        config = _config(home, sandbox.kubeconfig(kubernetes), people_url)
        port = pair.free_port()
        url = await stack.enter_async_context(served(config, port, home / "service.log"))
        webhook = pair.Webhook(url=f"{url}/api/v1/alerts", token_file=home / "webhook-token")
        [manager] = await stack.enter_async_context(
            pair.alertmanagers(programs.alertmanager, home, [webhook])
        )
        rules = home / "rules.yml"
        rules.write_text(yaml.safe_dump(_rules()))
        prometheus = await stack.enter_async_context(
            pair.prometheus(
                programs.prometheus,
                home,
                scrape={
                    "application": exporter,
                    "rollback-receiver": url.removeprefix("http://"),
                    "alertmanager": manager.removeprefix("http://"),
                },
                alertmanagers=[manager],
                rules=rules,
            )
        )
        http = await stack.enter_async_context(aiohttp.ClientSession())
        begin = CLOCK.now().timestamp()
        labels = {"rollback-receiver/enabled": "true"}
        sandbox.deploy(shop.NAMESPACE, "cart", "app:v1")
        for tag in ("v1", "v2"):
            sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:{tag}", labels=labels)
            await until(lambda tag=tag: demo.serves(sandbox, tag), tag)  # type: ignore[misc] # mypy and defaults
        await _scraped(http, prometheus, 3)
        async with http.post(webhook.url, json={}) as answer:
            assert answer.status == 401
        sandbox.deploy(shop.NAMESPACE, shop.DEPLOYMENT, f"app:v3-{shop.BROKEN_TAG}")
        await until(lambda: demo.serves(sandbox, "v2"), "v2 serves again")
        await until(lambda: any("RECOVERED" in m["text"] for _, m in people.slack), "it recovered")
        await asyncio.sleep(3)  # so that the end of it is scraped
        yield Seen(prometheus, begin, CLOCK.now().timestamp(), http)


async def _scraped(http: aiohttp.ClientSession, prometheus: str, targets: int) -> None:
    """Return when all targets have been scraped some times: what came before is no increase."""
    query = {"query": "count(count_over_time(up[1m]) >= 3)"}
    async with asyncio.timeout(60):
        found: list[Any] = []
        while not found or found[0]["value"][1] != str(targets):
            await asyncio.sleep(0.2)
            async with http.get(f"{prometheus}/api/v1/query", params=query) as answer:
                found = (await answer.json())["data"]["result"]


def _rules() -> dict[str, Any]:
    """Return rules that the dashboards build upon, an alert that asks, and the Watchdog."""
    [group] = yaml.safe_load(SHIPPED.read_text())["spec"]["groups"]
    [info] = [rule for rule in group["rules"] if rule.get("record") == "pod:release:info"]
    owner = "on (namespace, pod) group_left (deployment) pod:release:info"
    failed, all_ = (
        f"sum by (namespace, deployment) (rate(http_requests_total{which}[5s]) * {owner})"
        for which in ('{code="500"}', "")
    )
    errors = {
        "alert": "ErrorRatioHigh",
        "expr": f"{failed} / {all_} > 0.05",
        "for": "2s",
        "labels": {"severity": "critical", "rollback": "auto"},
        "annotations": {"for": "2s"},
    }
    watchdog = {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}}
    return {"groups": [{"name": "all", "interval": "1s", "rules": [info, errors, watchdog]}]}


def _config(home: Path, kubeconfig: dict[str, Any], people: str) -> Path:
    config = demo.write_config(home, kubeconfig, people)
    document = yaml.safe_load(config.read_text())
    (home / "slack-nobody").write_text(f"http://{pair.HOST}:{pair.free_port()}/services/nobody")
    sinks = document["notify"]["sinks"]
    sinks["nobody"] = {"kind": "slack-webhook", "url_file": str(home / "slack-nobody")}
    document["notify"]["routes"] = {
        "critical": ["prod-alerts", "pagerduty", "nobody"],
        "warning": ["engineering"],
        "info": ["deployments"],
        "default": ["engineering"],
    }
    config.write_text(yaml.safe_dump(document))
    return config


async def _wrong(seen: Seen, question: Question) -> str:
    """Return what is wrong with what Prometheus answers, "" when it is well."""
    try:
        found = await seen.ask(question)
    except ValueError as error:
        return f"fails: {error}"
    if not found:
        return "is empty"
    named = set(re.findall(r"\{\{(\w+)\}\}", question.legend))
    for series in found:
        if nameless := named - {label for label, value in series["metric"].items() if value}:
            return f"has a legend of {nameless}, which {series['metric']} does not have"
        other = series["metric"].get("deployment", shop.DEPLOYMENT)
        if other != shop.DEPLOYMENT:
            return f"shows {other}, which was not chosen"
    return ""


async def _offered(seen: Seen, variable: dict[str, Any]) -> list[str]:
    """Return the values that a variable lets people choose from."""
    query = Question(of=variable["name"], expr=variable["query"]["query"])
    asked = re.fullmatch(r"label_values\((.+), (\w+)\)", query.filled(CHOSEN))
    assert asked is not None, query
    return await seen.values(*asked.groups())


async def test_every_panel_mark_and_variable_finds_something_after_a_rollback(
    tmp_path: Path, programs: pair.Programs
) -> None:
    async with _seen(tmp_path, programs) as seen:
        wrong = [
            f"{question.of} {why}\n    {question.expr}"
            for board in BOARDS.values()
            for question in (*asked_by_panels(board), *asked_by_marks(board))
            if (why := await _wrong(seen, question))
        ]
        wrong += [
            f"{board['title']} / ${variable['name']} does not offer what there is"
            for board in BOARDS.values()
            for variable in variables(board)
            # A single cluster has no such label.
            if variable["type"] == "query" and variable["name"] != "cluster"
            if CHOSEN[variable["name"]] not in await _offered(seen, variable)
        ]
    assert not wrong, "\n".join(wrong)
