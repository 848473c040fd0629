"""From a configuration to sinks, and from a delivery to the metrics."""

from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from receiver import app, telemetry
from receiver.config import Settings, parse
from receiver.controller.ports import Delivery, Failure
from receiver.notify import Sinks
from tests.messages.stories import story
from tests.notify.sites import TAKEN, Site
from tests.virtual import LoopClock, virtual

CA = Path(__file__).with_name("ca.pem")


def settings(folder: Path, url: str) -> Settings:
    """Return a configuration with a sink of each kind."""
    (folder / "secret").write_text("s" * 32)
    (folder / "url").write_text(f"{url}/services/x")
    secret, where = str(folder / "secret"), str(folder / "url")
    sinks: dict[str, Any] = {
        "prod-alerts": {
            "kind": "slack",
            "token_file": secret,
            "channel": "C0123ABCDEF",
            "mention": "<!here>",
            "endpoint": f"{url}/api/",
        },
        "engineering": {"kind": "slack-webhook", "url_file": where},
        "pagerduty": {"kind": "pagerduty", "routing_key_file": secret, "endpoint": url},
        "programs": {"kind": "webhook", "url_file": where, "secret_file": secret},
        "fallback": {
            "kind": "email",
            "host": "127.0.0.1",
            "port": 1,
            "tls": "none",
            "from": "a@example.com",
            "to": ["b@example.com"],
        },
        "deployments": {"kind": "apprise", "url_file": where},
    }
    document = {
        "auth": {"webhook": {"bearer_tokens": [{"file": secret}]}},
        "kubernetes": {"namespaces": ["shop"]},
        "notify": {"sinks": sinks, "ca_file": str(CA), "private_addresses": ["10.0.0.0/8"]},
    }
    found = parse(yaml.safe_dump(document, sort_keys=False))
    assert isinstance(found, Settings), [str(each) for each in found]
    return found


def wired(found: Settings) -> tuple[Sinks, telemetry.Metrics, CollectorRegistry]:
    registry = CollectorRegistry()
    metrics = telemetry.Metrics(
        registry,
        version="1",
        reasons=(),
        phases=(),
        sinks=list(found.notify.sinks),
        deliveries=list(Delivery),
        failures=list(Failure),
    )
    return app._sinks(found, LoopClock(), metrics), metrics, registry


@virtual
async def test_each_kind_of_sink_is_made_of_its_settings(tmp_path: Path) -> None:
    sinks, _, _ = wired(settings(tmp_path, "http://127.0.0.1:1"))
    assert sinks.names() == (
        "prod-alerts",
        "engineering",
        "pagerduty",
        "programs",
        "fallback",
        "deployments",
    )
    assert sinks.routes("critical") == ("prod-alerts", "pagerduty")
    assert sinks.fallbacks() == ("prod-alerts", "fallback")
    assert [name for name in sinks.names() if sinks.pages(name)] == ["pagerduty"]
    # The URL is no URL of Apprise, and everybody sees that before it is needed.
    assert sinks.each() == dict.fromkeys(sinks.names(), "available") | {
        "deployments": "unauthorized"
    }
    assert sinks.health() == {
        "slack": "available",
        "pagerduty": "available",
        "webhook": "available",
        "email": "available",
        "apprise": "unauthorized",
    }
    await sinks.close()


@virtual
async def test_what_became_of_a_delivery_is_counted(tmp_path: Path) -> None:
    site = Site(usual=TAKEN)
    async with site.serve():
        sinks, _, registry = wired(settings(tmp_path, site.url))
        for name in ("prod-alerts", "pagerduty", "programs", "fallback"):
            await sinks.deliver(name, story())
        await sinks.close()
    paths = {path for _, path in site.requests} - {"/v2/change/enqueue"}
    assert paths == {"/api/chat.postMessage", "/v2/enqueue", "/services/x"}

    def counted(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"rollback_receiver_{name}", labels)

    assert counted("deliveries_total", sink="pagerduty", delivery="delivered") == 1
    assert counted("deliveries_total", sink="prod-alerts", delivery="ambiguous") == 1
    assert counted("delivery_failures_total", sink="prod-alerts", reason="odd_answer") == 1
    assert counted("delivery_failures_total", sink="fallback", reason="connect") == 1
    assert counted("delivery_failures_total", sink="pagerduty", reason="refused") == 0
    assert counted("delivery_seconds_count", sink="pagerduty") == 1
    assert counted("delivery_seconds_count", sink="engineering") == 0
