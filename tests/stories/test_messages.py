"""What people are told: whether its lines do what they say, and its links come from where."""

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

from yarl import URL

from receiver.app import Replica
from tests.stage import NAME, NAMESPACE, Stage, firing, stage, webhook
from tests.virtual import virtual


async def rolled_back(on: Stage, replica: Replica) -> None:
    """See a release rolled back, after numbers have moved already."""
    await on.release("v1", "v2")
    on.sandbox.rollout_undo(NAMESPACE, NAME, to_revision=1)
    await asyncio.sleep(20)
    await on.release("v3")
    since = on.clock.now()
    assert await on.fires(replica, since) == "rolled_back"
    await asyncio.sleep(60)
    await on.resolves(replica, since)
    await asyncio.sleep(20)
    assert on.image == "v1"


def line(on: Stage, label: str) -> list[str]:
    """Return a command of the newest Slack message, as a shell would take it apart."""
    channel, message = on.people.slack[-1]
    assert channel == "prod-alerts"
    assert "RECOVERED" in message["text"]
    texts = [block["text"]["text"] for block in message["blocks"] if block["type"] == "section"]
    found = re.search(rf"^\*{label}:\* `(.*)`$", "\n".join(texts), re.MULTILINE)
    assert found is not None, texts
    return shlex.split(found[1])


@virtual
async def test_kubectl_brings_the_revision_back_that_was_rolled_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await rolled_back(on, replica)
        words = line(on, "Undo this")
        assert words[:6] == ["kubectl", "-n", NAMESPACE, "rollout", "undo", f"deployment/{NAME}"]
        number = int(words[6].removeprefix("--to-revision="))
        on.sandbox.rollout_undo(NAMESPACE, NAME, to_revision=number)
        await asyncio.sleep(20)
        assert on.image == "v3"


@virtual
async def test_curl_brings_the_revision_back_and_quarantines_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        await rolled_back(on, replica)
        words = line(on, "Undo this by API")
        url = URL(words[-1])
        assert (words[0], url.origin()) == ("curl", URL("http://localhost:8080"))
        wish = json.loads(words[words.index("-d") + 1])
        path = url.path.removeprefix("/api/v1/")
        status, answer = await on.ask(replica, "POST", path, wish)
        assert (status, on.image) == (200, "v3"), answer
        _, shown = await on.ask(replica, "GET", f"deployments/{NAMESPACE}/{NAME}")
        marks = {r["images"][0]["image"]: r["marks"] for r in shown["history"]}
        assert "quarantined" not in marks["app:v1"]


def silences(on: Stage) -> set[str]:
    """Return where the silences of all Slack messages are filled in."""
    text = str([message for _, message in on.people.slack])
    return set(re.findall(r"<([^|>]*)/#/silences/new\?filter=%7B[^|]*\|Silence>", text))


@virtual
async def test_a_message_leads_to_the_alertmanager_that_sent_the_alert(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, on.replica() as replica:
        sent_by = webhook(firing(on.clock.now(), rollback=""))
        await on.post(replica, sent_by)
        await asyncio.sleep(20)
        assert silences(on) == {sent_by["externalURL"]}


@virtual
async def test_whom_to_call_and_where_links_lead_comes_from_the_configuration(
    tmp_path: Path,
) -> None:
    def configure(document: dict[str, Any]) -> None:
        document["contacts"] = [
            {"role": "CTO", "contact": "cto@flexoraa.com", "availability": "Escalation only"}
        ]
        document["links"] = {
            "alertmanager_url": "https://alerts.example.com",
            "prometheus_url": "https://prometheus.example.com/",
            "receiver_url": "https://rollback.example.com",
        }

    async with stage(tmp_path) as on:
        on.changes.append(configure)
        async with on.replica() as replica:
            # There is no such Deployment, and it is critical.
            await on.fires(replica)
            await asyncio.sleep(20)
            assert silences(on) == {"https://alerts.example.com"}
            (page,) = on.people.pages
            details = page["payload"]["custom_details"]
            assert details["contacts"] == ["Call CTO: cto@flexoraa.com (Escalation only)"]
            graphs = [x["href"] for x in page["links"] if x["text"].startswith("Graph")]
            assert [URL(graph).host for graph in graphs] == ["prometheus.example.com"]
            assert page["client_url"] == "https://rollback.example.com"
