"""Tokens of Kubernetes: who may patch a Deployment may roll it back, and the API server says so."""

import asyncio
import contextlib
import io
import json
import logging
import random  # noqa: TID251 - seeded, for the service under test
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver import app, demo
from receiver.config import Settings, read
from receiver.sandbox import Attributes, Fault, Token
from receiver.telemetry import LibraryLog, configure_logs
from tests.stage import NAME, NAMESPACE, Stage, firing, stage, webhook
from tests.virtual import virtual

US = "rollback-receiver"
ALICE, TOKEN = "system:serviceaccount:shop:alice", "alice-7f3a.zebra-1b2c.signature-9d8e"
ALERTMANAGER, AM_TOKEN = "system:serviceaccount:monitoring:am", "am-5e6f.zebra-7a8b.signature-0c1d"
UNKNOWN = "nobody-2d3e.zebra-4f5a.signature-6b7c"
PATCH = Attributes("patch", "apps", "deployments", "", NAMESPACE, NAME)
TOKEN_REVIEWS = "tokenreviews.authentication.k8s.io"
ACCESS_REVIEWS = "subjectaccessreviews.authorization.k8s.io"


@dataclass(slots=True)
class Play:
    """A stage with one replica that reviews tokens. `rights` is what Alice may do."""

    on: Stage
    replica: app.Replica
    rights: set[Attributes]
    log: io.StringIO = field(default_factory=io.StringIO)
    heard: list[str] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, token: str = TOKEN, **body: Any
    ) -> tuple[int, dict[str, Any]]:
        """Call the API with a token."""
        headers = {"Authorization": f"Bearer {token}"}
        sent = body or None
        url = f"{self.replica.url}/api/v1/{path}"
        async with self.on.session.request(method, url, json=sent, headers=headers) as answer:
            self.heard += [await answer.text(), str(answer.headers)]
            return answer.status, await answer.json()

    async def rollback(self, token: str = TOKEN, **wish: Any) -> tuple[int, dict[str, Any]]:
        """Roll back by hand."""
        path = f"deployments/{NAMESPACE}/{NAME}/rollback"
        return await self.ask("POST", path, token, reason="by hand", **wish)

    async def look(self, token: str = TOKEN) -> int:
        """Look at the Deployment; return the status of the answer."""
        return (await self.ask("GET", f"deployments/{NAMESPACE}/{NAME}", token))[0]

    async def open(self, path: str) -> dict[str, Any]:
        """Ask for what everybody may see."""
        async with self.on.session.get(f"{self.replica.url}/{path}") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    def reviews(self) -> list[str]:
        """Return which reviews of others were asked since the log was last cleared."""
        kinds = ("tokenreviews", "subjectaccessreviews")
        asked = [request.path.rpartition("/")[2] for request in self.on.sandbox.requests]
        return [each for each in asked if each in kinds]


@contextlib.asynccontextmanager
async def play(
    home: Path,
    *rights: Attributes,
    people: dict[str, Any] | None = None,
    senders: tuple[str, ...] = (),
    lacking: tuple[str, ...] = (),
) -> AsyncIterator[Play]:
    """Set the stage for Alice, who has these rights; nothing may tell her token.

    `people`: what else the configuration says of it. `senders`: who may post. `lacking`: the
    reviews that we may not create.
    """
    async with stage(home) as on:
        sandbox, allowed, log = on.sandbox, set(rights), io.StringIO()
        sandbox.reviews.tokens |= {
            TOKEN: Token(ALICE, ["system:serviceaccounts"], [US], uid="u-1"),
            AM_TOKEN: Token(ALERTMANAGER, ["system:serviceaccounts"], [US]),
        }
        sandbox.allow = lambda user, _, wanted: user != ALICE or wanted in allowed
        for plural in lacking:
            sandbox.faults.append(Fault(f"/{plural}", "status", 403, times=None, body=denial()))
        sandbox.authorize = lambda *wanted: wanted[2] not in lacking
        config = demo.write_config(home, sandbox.kubeconfig(on.kubernetes_url), on.people_url)
        document = yaml.safe_load(config.read_text())
        document["auth"]["people"]["kubernetes"] = {"audience": US} | (people or {})
        if senders:
            document["auth"]["webhook"]["kubernetes"] = {"service_accounts": list(senders)}
        config.write_text(yaml.safe_dump(document))
        settings = read(config)
        assert isinstance(settings, Settings), settings
        world = app.World(
            clock=on.clock,
            rng=random.Random(1),  # noqa: S311 - a test
            log=configure_logs(log, "debug", now=on.clock.now),
        )
        try:
            async with app.running(settings, world) as replica:
                on.replicas.append(replica)
                found = Play(on=on, replica=replica, rights=allowed, log=log)
                yield found
        finally:
            root = logging.getLogger()
            root.handlers = [each for each in root.handlers if not isinstance(each, LibraryLog)]
            logging.captureWarnings(capture=False)
        everything = "\n".join([log.getvalue(), *found.heard, *map(str, sandbox.writes)])
        for part in ("zebra", TOKEN, AM_TOKEN, UNKNOWN):
            assert part not in everything


def denial() -> dict[str, Any]:
    """Return what the API server says to whom it denies a right."""
    text = f'is forbidden: User "system:serviceaccount:{US}:{US}" cannot create resource'
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": text,
        "reason": "Forbidden",
        "code": 403,
    }


# --- who may


@virtual
async def test_who_may_patch_the_deployment_rolls_it_back_in_his_own_name(tmp_path: Path) -> None:
    async with play(tmp_path, PATCH) as on:
        await on.on.release("v1", "v2", "v3")
        status, answer = await on.rollback(wait=True)
        assert (status, answer["phase"], answer["by"]) == (200, "recovered", ALICE)
        assert on.on.image == "v2"
        assert len(on.on.template_writes()) == 1


@pytest.mark.parametrize(
    "right",
    [
        None,
        PATCH._replace(verb="get"),
        PATCH._replace(name="cart"),
        PATCH._replace(namespace="bank"),
        PATCH._replace(resource="replicasets"),
    ],
    ids=["no right", "may look", "another Deployment", "another namespace", "another kind"],
)
@virtual
async def test_who_may_not_patch_this_very_deployment_is_refused(
    tmp_path: Path, right: Attributes | None
) -> None:
    async with play(tmp_path, *([right] if right else [])) as on:
        await on.on.release("v1", "v2")
        status, answer = await on.rollback()
        assert (status, answer["error"]["reason"]) == (403, "forbidden")
        await asyncio.sleep(20)
        assert on.on.template_writes() == []


@virtual
async def test_a_token_for_another_audience_an_expired_and_an_unknown_one_are_nobody(
    tmp_path: Path,
) -> None:
    async with play(tmp_path, PATCH) as on:
        await on.on.release("v1", "v2")
        tokens = on.on.sandbox.reviews.tokens
        tokens["other-0a1b.zebra-2c3d.signature"] = Token(ALICE, (), ["another-service"])
        tokens["whole-4e5f.zebra-6a7b.signature"] = Token(ALICE)  # for the API server itself
        for token in (UNKNOWN, *tokens):
            if token not in (TOKEN, AM_TOKEN):
                status, answer = await on.rollback(token)
                assert (status, answer["error"]["reason"]) == (401, "unauthorized")
        assert "subjectaccessreviews" not in on.reviews()
        assert (await on.rollback(dry_run=True))[0] == 200
        del tokens[TOKEN]  # it has expired
        await asyncio.sleep(10)
        assert (await on.rollback())[0] == 401
        assert on.on.template_writes() == []


@virtual
async def test_the_verb_can_be_an_invented_one_so_that_editing_takes_another_right(
    tmp_path: Path,
) -> None:
    own = PATCH._replace(verb="rollback")
    async with play(tmp_path, PATCH, people={"verb": "rollback"}) as on:
        await on.on.release("v1", "v2")
        assert (await on.rollback(dry_run=True))[0] == 403
        on.rights.clear()
        on.rights.add(own)
        await asyncio.sleep(10)
        assert (await on.rollback())[0] == 200
        assert on.on.image == "v1"


@virtual
async def test_lists_and_the_switch_follow_the_rights_of_kubernetes_too(tmp_path: Path) -> None:
    see = Attributes("list", "apps", "deployments", "", NAMESPACE)
    get = PATCH._replace(verb="get")
    switch = Attributes("patch", "", "configmaps", "", demo.STATE, "rollback-receiver-switch")
    async with play(tmp_path, PATCH) as on:
        await on.on.release("v1", "v2")
        assert (await on.ask("GET", "deployments"))[0] == 403
        assert (await on.ask("GET", "stop"))[0] == 403
        assert (await on.ask("PUT", "stop", reason="storm"))[0] == 403
        assert await on.look() == 403
        status, done = await on.rollback()
        assert status == 200
        assert (await on.ask("GET", f"incidents/{done['id']}"))[0] == 404
        on.rights.update((see, get, switch))
        await asyncio.sleep(10)
        _, found = await on.ask("GET", "deployments")
        assert [each["name"] for each in found["deployments"]] == [NAME]
        _, found = await on.ask("GET", "incidents")
        assert [each["by"] for each in found["incidents"]] == [ALICE]
        assert (await on.ask("GET", f"incidents/{done['id']}"))[1]["by"] == ALICE
        assert await on.look() == 200
        _, stopped = await on.ask("PUT", "stop", reason="storm")
        assert stopped["why"] == f"{ALICE}: storm"
        assert (await on.ask("DELETE", "stop"))[1] == {"stopped": False, "why": ""}


# --- kept for ten seconds


@virtual
async def test_a_second_call_within_ten_seconds_asks_nothing(tmp_path: Path) -> None:
    async with play(tmp_path, PATCH._replace(verb="get")) as on:
        await on.on.release("v1")
        on.on.sandbox.clear_log()
        assert await on.look() == 200
        assert on.reviews() == ["tokenreviews", "subjectaccessreviews"]
        await asyncio.sleep(9)
        assert await on.look() == 200
        assert len(on.reviews()) == 2
        await asyncio.sleep(1)
        assert await on.look() == 200
        assert on.reviews() == ["tokenreviews", "subjectaccessreviews"] * 2


@virtual
async def test_a_right_that_is_taken_away_is_gone_within_ten_seconds(tmp_path: Path) -> None:
    async with play(tmp_path, PATCH) as on:
        await on.on.release("v1", "v2", "v3")
        assert (await on.rollback(dry_run=True))[0] == 200
        on.rights.clear()
        await asyncio.sleep(10)
        assert (await on.rollback())[0] == 403
        on.rights.add(PATCH)
        await asyncio.sleep(10)
        assert (await on.rollback())[0] == 200
        assert len(on.on.template_writes()) == 1


# --- what cannot be asked lets nobody in


DOWN = [
    Fault("reviews", "reset_before", times=None),
    Fault("reviews", "reset_after", times=None),
    Fault("reviews", "hang", times=None),
    Fault("reviews", "status", 500, times=None),
    Fault("reviews", "status", 429, retry_after=1, times=None),
    Fault("reviews", "status", 404, times=None),
    Fault("/subjectaccessreviews", "reset_before", times=None),
    Fault("/subjectaccessreviews", "hang", times=None),
]


@pytest.mark.parametrize("fault", DOWN, ids=lambda f: f"{f.match} {f.kind} {f.status}")
@virtual
async def test_while_the_api_server_cannot_be_asked_nobody_gets_in_and_nothing_is_written(
    tmp_path: Path, fault: Fault
) -> None:
    async with play(tmp_path, PATCH) as on:
        await on.on.release("v1", "v2")
        on.on.sandbox.faults.append(fault)
        began = asyncio.get_running_loop().time()
        status, answer = await on.rollback()
        assert (status, answer["error"]["reason"]) == (503, "auth_unavailable")
        assert "Retry-After" in on.heard[-1]
        assert asyncio.get_running_loop().time() - began < 5.5
        await asyncio.sleep(20)
        assert on.on.template_writes() == []
        on.on.sandbox.faults.clear()
        assert (await on.rollback())[0] == 200


@virtual
async def test_one_broken_connection_is_not_noticed(tmp_path: Path) -> None:
    async with play(tmp_path, PATCH) as on:
        await on.on.release("v1", "v2")
        on.on.sandbox.faults += [
            Fault("/tokenreviews", "reset_after", times=1),
            Fault("/subjectaccessreviews", "reset_before", times=1),
        ]
        assert (await on.rollback())[0] == 200


@pytest.mark.parametrize(
    ("plural", "named"),
    [("tokenreviews", TOKEN_REVIEWS), ("subjectaccessreviews", ACCESS_REVIEWS)],
)
@virtual
async def test_a_right_that_we_lack_is_named_in_the_answer_and_shown_by_ready(
    tmp_path: Path, plural: str, named: str
) -> None:
    async with play(tmp_path, PATCH, lacking=(plural,)) as on:
        await on.on.release("v1", "v2")
        status, answer = await on.rollback()
        assert (status, answer["error"]["reason"]) == (503, "auth_unavailable")
        assert f"we may not create {named}: 403 Forbidden" in answer["error"]["message"]
        assert "User" not in answer["error"]["message"]
        await asyncio.sleep(20)
        assert on.on.template_writes() == []
        shown = await on.open("ready")
        assert shown["checks"]["rights"] == f"whole cluster: create {named}"
        assert shown["ready"]  # who has a token from a file, and all of the automation, go on
        status, _ = await on.rollback(demo.PERSON_TOKEN)
        assert status == 200
        lines = [json.loads(line) for line in on.log.getvalue().splitlines()]
        missing = [line for line in lines if line["event"] == "rights_missing"]
        assert [line["denied"] for line in missing] == [{"whole cluster": [f"create {named}"]}]


@virtual
async def test_where_no_token_is_reviewed_no_right_for_it_is_asked_about(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.sandbox.authorize = lambda *wanted: not wanted[2].endswith("reviews")
        async with on.replica() as replica:
            await asyncio.sleep(5)
            async with on.session.get(f"{replica.url}/ready") as answer:
                assert (await answer.json())["checks"]["rights"] == "ok"
            headers = {"Authorization": f"Bearer {TOKEN}"}
            status, _ = await on.ask(replica, "GET", "incidents", **headers)
            assert status == 401
        assert not [r for r in on.sandbox.requests if r.path.endswith("/tokenreviews")]


# --- static tokens


@virtual
async def test_a_static_token_still_works_and_is_never_shown_to_the_api_server(
    tmp_path: Path,
) -> None:
    async with play(tmp_path, senders=("monitoring/am",)) as on:
        await on.on.release("v1", "v2")
        on.on.sandbox.clear_log()
        person, poster = demo.PERSON_TOKEN, demo.TOKEN
        for _ in range(2):
            assert await on.look(person) == 200
            assert await on.look(poster) == 401  # the webhook's is no person's
            assert (await on.ask("GET", "stop", person))[0] == 200
            assert (await on.ask("GET", "incidents", person))[0] == 200
            assert (await _posts(on, poster))[0] == 200
            assert (await _posts(on, person))[0] == 401
            # Once more with secrets that look like tokens of Kubernetes.
            person, poster = "person.to.ken", "webhook.to.ken"
            (tmp_path / "person-token").write_text(person)
            (tmp_path / "webhook-token").write_text(poster)
        assert on.reviews() == []


# --- the webhook


async def _posts(on: Play, token: str) -> tuple[int, dict[str, Any]]:
    return await on.ask("POST", "alerts", token, **webhook(firing(on.on.clock.now())))


@virtual
async def test_a_projected_token_of_alertmanager_rolls_back_like_a_shared_secret(
    tmp_path: Path,
) -> None:
    async with play(tmp_path, senders=("monitoring/other", "monitoring/am")) as on:
        await on.on.release("v1", "v2")
        status, answer = await _posts(on, AM_TOKEN)
        assert (status, answer["alerts"][0]["action"]) == (200, "roll_back")
        await asyncio.sleep(20)
        assert on.on.image == "v1"
        accepted = [json.loads(line) for line in on.log.getvalue().splitlines()]
        senders = [each["sender"] for each in accepted if each["event"] == "webhook_accepted"]
        assert senders == [ALERTMANAGER]


@virtual
async def test_any_other_pod_of_the_cluster_may_not_post_and_is_told_why(tmp_path: Path) -> None:
    async with play(tmp_path, PATCH, senders=("monitoring/am",)) as on:
        await on.on.release("v1", "v2")
        status, answer = await _posts(on, TOKEN)
        assert (status, answer["error"]["reason"]) == (403, "forbidden")
        assert ALICE in answer["error"]["message"]
        assert (await _posts(on, UNKNOWN))[0] == 401
        await asyncio.sleep(20)
        assert on.on.template_writes() == []


@virtual
async def test_without_named_service_accounts_no_token_of_kubernetes_may_post(
    tmp_path: Path,
) -> None:
    async with play(tmp_path, PATCH) as on:
        assert (await _posts(on, AM_TOKEN))[0] == 401
        assert on.reviews() == []


@virtual
async def test_alertmanager_is_asked_to_come_again_while_its_token_cannot_be_reviewed(
    tmp_path: Path,
) -> None:
    async with play(tmp_path, senders=("monitoring/am",)) as on:
        await on.on.release("v1", "v2")
        on.on.sandbox.faults.append(Fault("/tokenreviews", "reset_before", times=2))
        status, answer = await _posts(on, AM_TOKEN)
        assert (status, answer["error"]["reason"]) == (503, "auth_unavailable")
        assert (await _posts(on, AM_TOKEN))[0] == 200
