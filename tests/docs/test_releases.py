"""The commands of the page on staged releases, typed into one shell, page by page from its top.

They meet the real routes and bodies over loopback, before a service that only notes what it is
asked and shows a release as it is shown. A stage takes a day: `tests/stories` plays one whole.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp.web
import pytest

from receiver.controller import views
from receiver.controller.answers import Json, Outcome, Person, ReleaseWish
from receiver.journal import Hold, Item, Plan, Release, Stage, Step
from receiver.reasons import Reason
from receiver.web import Web, application, runner
from tests.docs.pages import DOCS, blocks, read, tool
from tests.virtual import START
from tests.web.world import PERSON_TOKEN, FakeService, world

HERE = "tests/docs/test_releases.py"
KUBECTL = f"#!/bin/sh\n# It is asked for tokens alone.\necho {PERSON_TOKEN}\n"

DAY = timedelta(hours=24)
PLAN = Plan(
    name="standard",
    stages=(
        Stage(name="canary", percent=10, soak=DAY),
        Stage(name="full", percent=100, approvals=("cto",)),
    ),
    watch=timedelta(hours=4),
    checklist=(Item(id="ci", text="All tests passing in CI", when="before"),),
)
RELEASE = Release(
    id="rel-0123456789ab",
    plan=PLAN,
    version="1.1.0",
    uid="u",
    canary="checkout-canary",
    canary_uid="c",
    canary_before="a",
    code="b",
    base="a",
    images=(("api", "registry.example.com/api:1.1.0"),),
    by="alice",
    opened_at=START,
    step=Step.WAITING,
    step_at=START,
    reason=Reason.RELEASING,
    trouble="p95 latency",
    held=Hold(reason=Reason.RELEASE_HELD, at=START, by="alice"),
)


class Shows(FakeService):
    """Shows a release as the service does."""

    async def release(self, namespace: str, name: str) -> Json | None:
        self._note("release", namespace, name)
        return views.of_release(RELEASE, START)

    async def begin_release(
        self, namespace: str, name: str, wish: ReleaseWish, person: Person
    ) -> Outcome:
        self._note("begin_release", namespace, name, wish, person)
        more = {"stages": views.of_stages(RELEASE, 9), "differs": ["spec.volumes"]}
        return Outcome(status=202, body=views.of_release(RELEASE, START) | more)


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[str, Shows]]:
    """Serve until the end of the block; yield where, and what notes all that is asked."""
    parts: list[Web] = []
    async with world(folder, on_build=parts.append):
        shows = Shows()
        served = runner(application(replace(parts[0], service=shows)), drain=1)
        await served.setup()
        await aiohttp.web.TCPSite(served, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{served.addresses[0][1]}", shows
        finally:
            await served.cleanup()


def script() -> str:
    """Return what is typed: first the session of the runbooks, then all that names this file."""
    session = [b.text for b in read(DOCS / "runbooks" / "README.md").blocks if "rr() {" in b.text]
    return "\n".join(["set -eu -o pipefail", *session, *(b.text for b in blocks("sh", HERE))])


async def typed(folder: Path) -> tuple[str, list[tuple[Any, ...]]]:
    """Type it; return all that is said, and what the service was asked."""
    for program in ("curl", "jq"):
        tool(program)
    (folder / "bin").mkdir()
    kubectl = folder / "bin" / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    async with serving(folder) as (url, service):
        names = {"NS": "shop", "NAME": "checkout", "RR": url, "HOME": str(folder)}
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", script()),
            cwd=folder,
            env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"} | names,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode(), service.calls


@pytest.mark.e2e
async def test_the_commands_of_the_page_are_what_the_service_takes(tmp_path: Path) -> None:
    said, calls = await typed(tmp_path)
    begun = [call[3] for call in calls if call[0] == "begin_release"]
    assert [wish.dry_run for wish in begun] == [True, False]
    assert {wish.images for wish in begun} == {(("api", "registry.example.com/api:1.1.0"),)}
    steered = [call[3] for call in calls if call[0] == "steer_release"]
    assert steered == ["approve", "reject", "pause", "resume", "abort", "promote"]
    (ticked,) = (call for call in calls if call[0] == "tick_check")
    assert ticked[3] == "ci"
    assert [call[0] for call in calls].count("release_log") == 1
    assert (tmp_path / "log.md").read_text().startswith("# Deployment: ")
    # What jq picks is there: of a field that there is not it makes null.
    assert "null" not in said.split('"waits_for"')[0].rsplit('"version"', 1)[1]
    assert '"differs": [' in said
    assert '"id": "ci"' in said
