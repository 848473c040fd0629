"""What `make demo` prints, and what it says that can be tried by hand."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator

import pytest

from receiver import demo
from receiver.demo import pair
from receiver.demo.shop import BROKEN_TAG
from tests.docs.pages import tool
from tests.e2e.processes import COMMAND

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
TRIES = 7
LINE = re.compile(r" *\d+\.\d s +(\w+)  (.+)")


def told(said: str) -> list[tuple[str, str]]:
    """Return the lines of a timeline as (word, text)."""
    return [(found[1], found[2]) for found in map(LINE.fullmatch, said.splitlines()) if found]


def test_the_timeline_tells_the_whole_story_in_order(programs: pair.Programs) -> None:
    ran = subprocess.run(
        [*COMMAND, "demo"], capture_output=True, text=True, timeout=140, check=False
    )
    print(ran.stdout, ran.stderr)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = told(ran.stdout)
    # Each line of the output is one of the timeline.
    assert len(lines) == len(ran.stdout.splitlines())
    story = [
        ("setup", "Kubernetes API on http://"),
        ("setup", "Slack and PagerDuty on http://"),
        ("setup", "service on http://"),
        ("setup", "Prometheus on http://"),
        ("setup", "Alertmanager on http://"),
        ("release", f"{demo.IMAGE}:v3-{BROKEN_TAG} is being rolled out"),
        (
            "alert",
            "ErrorRatioHigh about shop/checkout: decision roll_back, reason rolled_back",
        ),
        (
            "rollback",
            f"shop/checkout: revision 3 ({demo.IMAGE}:v3-{BROKEN_TAG}) -> 2 ({demo.IMAGE}:v2)",
        ),
        ("rollout", "1 of 3 replicas are updated"),
        ("rollout", "shop/checkout: complete, verifying"),
        ("incident", "recovered: 1 alert resolved"),
        ("notice", "was told: RECOVERED after rollback"),
    ]
    rest = iter(lines)
    for word, text in story:
        assert any(word == said and text in what for said, what in rest), (word, text)
    senders = {text for word, text in lines if word == "webhook"}
    assert senders
    assert all("the webhook came from Alertmanager/" in text for text in senders)
    sinks = {text.split()[0] for word, text in lines if word == "notice"}
    assert sinks == {"prod-alerts", "pagerduty"}
    proofs = [text for word, text in lines if word == "proof"]
    assert len(proofs) == 2
    assert "exactly one rollback" in proofs[0]
    assert "Prometheus has scraped" in proofs[1]


@contextlib.asynccontextmanager
async def held(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    """Run a demo that stays up; yield it with its lines to try, by what is said above each."""
    child = await asyncio.create_subprocess_exec(
        *COMMAND, "demo", "--hold", *options, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        said = b""
        while b"Ctrl-C" not in said:
            said = await child.stdout.readline()
            assert said, "it has ended"
            print(said.decode(), end="")
        lines: dict[str, str] = {}
        while len(lines) < TRIES:
            above = (await child.stdout.readline()).decode().strip().removeprefix("# ")
            lines[above] = (await child.stdout.readline()).decode().strip()
        yield child, lines
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def shell(line: str) -> str:
    child = await asyncio.create_subprocess_exec(
        "bash", "-c", f"set -o pipefail; {line}", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    assert child.returncode == 0, line
    return said.decode()


async def test_the_lines_to_try_by_hand_do_what_they_say_until_ctrl_c() -> None:
    tool("curl")
    async with held("--captured") as (child, lines):
        assert all(line.startswith("curl ") for line in lines.values()), lines
        said = {above: await shell(line) for above, line in lines.items()}
        read = {above: json.loads(text) for above, text in said.items() if text.startswith("{")}
        shown = read["the history, with images, ages and marks"]
        images = [r["images"][0]["image"].rpartition(":")[2] for r in shown["history"]]
        assert images == ["v2", f"v3-{BROKEN_TAG}", "v1"]
        rehearsed = read["a rollback by hand, judged by the API server and not done"]
        assert (rehearsed["dry_run"], rehearsed["to"]["revision"]) == (True, 1)
        done = read["and done"]
        assert (done["by"], done["to"]["revision"], done["phase"]) == ("you", 1, "recovered")
        assert read["one more step back, so soon: refused"]["error"]["reason"] == "cooldown"
        found = read["what happened"]["incidents"]
        assert [incident["by"] for incident in found] == ["you", "rollback-receiver"]
        assert read["how it is"]["status"] == "healthy"
        assert "rollback_receiver_template_writes_total 2.0" in said["what it counted"]
        child.send_signal(signal.SIGINT)
        assert await child.wait() == 0
