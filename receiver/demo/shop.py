"""The shop of the demo: what Prometheus sees of the pods of a Deployment, from their images."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeAlias

from aiohttp import web

from receiver.demo.pair import HOST

Obj: TypeAlias = dict[str, Any]

NAMESPACE, DEPLOYMENT = "shop", "checkout"
REQUESTS_EACH, TICK = 4, 0.2
BROKEN_TAG = "broken"

RULES = """\
groups:
- name: shop
  interval: 1s
  rules:
  - alert: ErrorRatioHigh
    expr: |
      sum by (namespace, deployment) (rate(http_requests_total{code="500"}[5s]))
        / sum by (namespace, deployment) (rate(http_requests_total[5s])) > 0.05
    for: 2s
    labels: {severity: critical, rollback: auto}
    annotations:
      for: 2s
      summary: '{{ $labels.namespace }}/{{ $labels.deployment }} serves errors'
      description: '{{ $value | humanizePercentage }} of the requests fail.'
"""


class Shop:
    """An exporter: each ready pod serves requests, those of a broken image fail every other one."""

    def __init__(self, pods: Callable[[], Iterable[Obj]]) -> None:
        """`pods` returns the pods as they are right now."""
        self._pods = pods
        self._served: Counter[tuple[str, str, str]] = Counter()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Run it; yield host:port."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        traffic = asyncio.create_task(self._traffic())
        try:
            yield "{}:{}".format(*runner.addresses[0][:2])
        finally:
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
            await runner.cleanup()

    async def _traffic(self) -> None:
        while True:
            for pod in self._pods():
                meta = pod["metadata"]
                conditions = (pod.get("status") or {}).get("conditions") or ()
                if not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                    continue
                image = pod["spec"]["containers"][0]["image"]
                failed = REQUESTS_EACH // 2 if image.endswith(BROKEN_TAG) else 0
                app = meta["labels"]["app"]
                self._served[meta["namespace"], app, "200"] += REQUESTS_EACH - failed
                self._served[meta["namespace"], app, "500"] += failed
            await asyncio.sleep(TICK)

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = ["# TYPE http_requests_total counter"]
        for (namespace, deployment, code), count in sorted(self._served.items()):
            labels = f'namespace="{namespace}",deployment="{deployment}",code="{code}"'
            lines.append(f"http_requests_total{{{labels}}} {count}")
        return web.Response(text="\n".join([*lines, ""]), content_type="text/plain")
