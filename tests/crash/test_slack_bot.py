"""A replica is killed around each call to Slack: one message stays, and nothing is said twice."""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.crash.killing import Cast
from tests.notify.workspace import CHANNEL, TOKEN, Workspace
from tests.stage import PRODUCTION, Stage, stage
from tests.virtual import LoopClock, virtual

CHAT = "prod-alerts"
POST, UPDATE, REPLY = "post", "update", "reply"


@dataclass
class _Watched(Workspace):
    """A workspace whose messages have the time of the story; `at` one call, `kill` is called."""

    at: tuple[str, str] | None = None
    kill: Callable[[], None] = lambda: None
    seen: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        what = await _what(request)
        self.seen[what] += 1
        cut = self.at if self.seen[what] == 1 else None
        if cut == ("before", what):
            self.kill()
            return web.Response(status=500)
        answer = await super().answer(request)
        if cut == ("after", what):
            self.kill()
        return answer

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = super()._post(body)
        ts = f"{LoopClock().now().timestamp() + len(self.messages) * 1e-6:.6f}"
        self.messages[-1]["ts"] = ts
        return answer | {"ts": ts}


async def _what(request: web.Request) -> str:
    method = request.path.rpartition("/")[2]
    if method == "chat.postMessage":
        return REPLY if "thread_ts" in await request.json() else POST
    return UPDATE if method == "chat.update" else method


def _told_by_a_bot(on: Stage, workspace: Workspace) -> None:
    token = on.home / "slack-token"
    token.write_text(TOKEN)
    sink = {
        "kind": "slack",
        "token_file": str(token),
        "channel": CHANNEL,
        "endpoint": workspace.url,
    }
    on.changes.append(lambda document: document["notify"]["sinks"].update({CHAT: sink}))


async def _play(home: Path, at: tuple[str, str] | None, *scopes: str) -> _Watched:
    """Play a rollback that helps; the replica that works on it is killed at one call."""
    workspace = _Watched(at=at, scopes={"chat:write", *scopes})
    async with (
        stage(home, timing=PRODUCTION) as on,
        workspace.serve(),
        contextlib.AsyncExitStack() as stack,
    ):
        _told_by_a_bot(on, workspace)
        cast = Cast(on, stack)
        first = await cast.start()
        await cast.start()
        await on.release("v2", "v3", wait=4)
        workspace.kill = lambda: cast.kill(first)
        began = await cast.fires()
        await cast.passes(60)
        await cast.resolves(began)
        await cast.passes(60)
        assert len(cast.living) == (2 if at is None else 1), f"never came by: {at}"
        assert len(on.template_writes()) == 1
    return workspace


@virtual
async def test_undisturbed_there_is_one_message_and_one_reply(tmp_path: Path) -> None:
    slack = await _play(tmp_path, None, "channels:history")
    (root,) = slack.roots
    assert "RECOVERED" in root["text"]
    (reply,) = slack.replies
    assert (reply["thread_ts"], "RECOVERED" in reply["text"]) == (root["ts"], True)
    assert set(slack.seen) == {POST, UPDATE, REPLY}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", [POST, UPDATE, REPLY])
@virtual
async def test_killed_around_any_call_there_is_one_message_and_nothing_twice(
    tmp_path: Path, what: str, when: str
) -> None:
    slack = await _play(tmp_path, (when, what), "channels:history")
    (root,) = slack.roots
    assert "RECOVERED" in root["text"]
    assert [reply["thread_ts"] for reply in slack.replies] == [root["ts"]]
    assert "duplicate" not in str(slack.messages)


@virtual
async def test_without_the_scope_to_look_it_is_said_again_as_a_possible_duplicate(
    tmp_path: Path,
) -> None:
    slack = await _play(tmp_path, ("after", POST))
    first, second = slack.roots
    assert "duplicate" not in str(first)
    assert "duplicate" in str(slack.bodies)
    assert "RECOVERED" in second["text"]
