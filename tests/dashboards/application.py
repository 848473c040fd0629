"""An application with all that the dashboards read, and what kube-state-metrics says of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import count
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from receiver.demo import pair, shop
from receiver.sandbox import Sandbox

TICK = 0.2
WHO = ("namespace", "pod")
ROUTES, WORKFLOWS, MODELS = ("/leads", "/messages"), ("nurture", "onboard"), ("large", "small")
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10)
POOL = 20


class Application:
    """Each ready pod works; one of a broken image fails every other time, and is slow."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._registry = registry = CollectorRegistry()

        def counter(name: str, *labels: str) -> Counter:
            return Counter(name, name, (*WHO, *labels), registry=registry)

        def gauge(name: str) -> Gauge:
            return Gauge(name, name, WHO, registry=registry)

        def seconds(name: str, *labels: str) -> Histogram:
            return Histogram(name, name, (*WHO, *labels), registry=registry, buckets=SECONDS)

        self._requests = counter("http_requests_total", "route", "code")
        self._seconds = seconds("http_request_duration_seconds", "route")
        self._runs = counter("workflow_runs_total", "workflow", "status")
        self._run_seconds = seconds("workflow_duration_seconds", "workflow")
        self._messages = counter("whatsapp_messages_total", "status")
        self._used = gauge("db_pool_connections_in_use")
        self._size = gauge("db_pool_connections_max")
        self._query_seconds = seconds("db_query_duration_seconds", "operation")
        self._slow = counter("db_slow_queries_total")
        self._hits, self._misses = (
            counter("redis_keyspace_hits_total"),
            counter("redis_keyspace_misses_total"),
        )
        self._calls = counter("ai_requests_total", "model", "status")
        self._tokens = counter("ai_tokens_total", "model", "direction")
        self._spend = counter("ai_spend_usd_total", "model")

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Run it; yield host:port."""
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, pair.HOST, 0).start()
        work = asyncio.create_task(self._work())
        try:
            yield "{}:{}".format(*runner.addresses[0][:2])
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await runner.cleanup()

    async def _work(self) -> None:
        for turn in count():
            for pod in self._sandbox.list("Pod"):
                conditions = (pod.get("status") or {}).get("conditions") or ()
                if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                    meta = pod["metadata"]
                    broken = pod["spec"]["containers"][0]["image"].endswith(shop.BROKEN_TAG)
                    who = (meta["namespace"], meta["name"])
                    self._once(who, turn, fails=broken and turn % 2 == 0, slow=broken)
            await asyncio.sleep(TICK)

    def _once(self, who: tuple[str, str], turn: int, *, fails: bool, slow: bool) -> None:
        status = "failed" if fails else "delivered"
        took = (4 if slow else 0.3) * (1 + turn % 10) / 10
        for route in ROUTES:
            self._requests.labels(*who, route, "500" if fails else "200").inc(4)
            self._seconds.labels(*who, route).observe(took)
        for workflow in WORKFLOWS:
            ended = "failed" if fails else "succeeded"
            self._runs.labels(*who, workflow, ended).inc()
            self._run_seconds.labels(*who, workflow).observe(2 * took)
            self._runs.labels(*who, workflow, "failed")
        self._messages.labels(*who, status).inc()
        self._used.labels(*who).set(turn % POOL)
        self._size.labels(*who).set(POOL)
        for operation in ("select", "insert"):
            self._query_seconds.labels(*who, operation).observe(took / 10)
        self._slow.labels(*who).inc(slow)
        self._hits.labels(*who).inc(19)
        self._misses.labels(*who).inc()
        for model in MODELS:
            self._calls.labels(*who, model, "error" if fails else "ok").inc()
            self._tokens.labels(*who, model, "input").inc(900)
            self._tokens.labels(*who, model, "output").inc(100)
            self._spend.labels(*who, model).inc(0.01)

    async def _metrics(self, _: web.Request) -> web.Response:
        text = generate_latest(self._registry).decode() + "\n".join([*self._state(), ""])
        return web.Response(text=text, content_type="text/plain")

    def _state(self) -> list[str]:
        """Return what kube-state-metrics exports of Deployments, ReplicaSets and pods."""
        lines = []
        for found in self._sandbox.list("Deployment"):
            meta = found["metadata"]
            labels = f'namespace="{meta["namespace"]}",deployment="{meta["name"]}"'
            seen = found.get("status", {}).get("observedGeneration", 0)
            lines.append(f"kube_deployment_status_observed_generation{{{labels}}} {seen}")
        for found in self._sandbox.list("Pod"):
            meta = found["metadata"]
            labels = f'namespace="{meta["namespace"]}",pod="{meta["name"]}"'
            lines.append(f"kube_pod_owner{{{labels},{_owner(meta)}}} 1")
        for found in self._sandbox.list("ReplicaSet"):
            meta = found["metadata"]
            labels = f'namespace="{meta["namespace"]}",replicaset="{meta["name"]}"'
            created = datetime.fromisoformat(meta["creationTimestamp"]).timestamp()
            ready = found.get("status", {}).get("readyReplicas", 0)
            lines += [
                f"kube_replicaset_created{{{labels}}} {created:.0f}",
                f"kube_replicaset_status_ready_replicas{{{labels}}} {ready}",
                f"kube_replicaset_owner{{{labels},{_owner(meta)}}} 1",
            ]
        return lines


def _owner(meta: dict[str, Any]) -> str:
    [owner] = meta["ownerReferences"]
    return f'owner_kind="{owner["kind"]}",owner_name="{owner["name"]}"'
