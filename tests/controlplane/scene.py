"""The service on a real API server: in this process, or as processes, with the rights we ship."""

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from receiver import app
from receiver.controller.setup import SWITCH, Timing
from receiver.demo.people import People
from tests.controlplane.plane import Connection
from tests.controlplane.world import RBAC, RealWorld, real_world
from tests.k8s.shipped import REVIEWS, STATE, TARGET, documents
from tests.kube.http import Obj, image_of
from tests.stage import NAME, OPTED_IN, Front

ACCOUNT = "rollback-receiver"
TEMPLATE = "/spec/template"


def shipped_roles(
    namespace: str, state_namespace: str, without: tuple[str, str] | None = None
) -> list[Obj]:
    """Return the roles and bindings of `k8s/` for these namespaces, less one (verb, resource).

    What holds for the whole cluster gets the name of the namespace, so that tests do not meet.
    """
    found: list[Obj] = []
    for file, where in ((TARGET, namespace), (STATE, state_namespace), (REVIEWS, "")):
        for obj in documents(file):
            meta: Obj = obj["metadata"]
            if obj["kind"].startswith("Cluster"):
                meta["name"] = f"{namespace}-{meta['name']}"
                if "roleRef" in obj:
                    obj["roleRef"]["name"] = f"{namespace}-{obj['roleRef']['name']}"
            else:
                meta["namespace"] = where
            for subject in obj.get("subjects", ()):
                subject["namespace"] = state_namespace
            if without is not None:
                obj["rules"] = _less(obj.get("rules", ()), *without)
                obj = {key: value for key, value in obj.items() if value}  # noqa: PLW2901 - less
            found.append(obj)
    return found


def _less(rules: Any, verb: str, resource: str) -> list[Obj]:
    kept = [
        rule
        | {"verbs": [v for v in rule["verbs"] if (v, plural) != (verb, resource)]}
        | {"resources": [plural]}
        for rule in rules
        for plural in rule["resources"]
    ]
    return [rule for rule in kept if rule["verbs"]]


def shipped_rights() -> list[tuple[str, str]]:
    """Return each (verb, resource) that the shipped roles grant."""
    return [
        (verb, plural)
        for role in shipped_roles("n", "s")
        for rule in role.get("rules", ())
        for plural in rule["resources"]
        for verb in rule["verbs"]
    ]


class Scene(Front):
    """What a story plays on, in real time."""

    # Seconds: as in production but for the waiting.
    timing = Timing(beat=0.3, lasts=3.0, poll=0.5, rights=5.0)

    def __init__(self, world: RealWorld, config: Obj, *front: Any) -> None:
        super().__init__(*front)
        self.world = world
        self.namespace, self.state_namespace = world.namespace, world.state_namespace
        self._config: Obj = config
        # Where replicas that start from now on reach the API server, if not where it is.
        self.by_way_of = ""

    def kubeconfig(self) -> Obj:
        if not self.by_way_of:
            return self._config
        cluster = self._config["clusters"][0] | {"cluster": {"server": self.by_way_of}}
        return self._config | {"clusters": [cluster]}

    def configured(self, document: Obj) -> None:
        super().configured(document)
        auth: Obj = document["auth"]
        auth["people"]["kubernetes"] = {}
        auth["webhook"]["kubernetes"] = {
            "service_accounts": [f"{self.state_namespace}/alertmanager"]
        }

    def quick(
        self, seed: int = 1, **policy: Any
    ) -> contextlib.AbstractAsyncContextManager[app.Replica]:
        """Run a replica that does not wait long for anything."""
        brief = {"settle": "200ms", "cooldown": "1s", "verify_within": "3s"}
        return self.replica(seed, **brief | policy)

    async def fires(
        self, replica: app.Replica, since: datetime | None = None, **labels: str
    ) -> str:
        """Post one alert that fires at once: these releases are younger than any `for`."""
        return await super().fires(replica, since, **{"for_": "0s"} | labels)

    async def release(self, *tags: str, **more: Any) -> None:
        """Roll images out one after another, the good ones to their end."""
        for tag in tags:
            await self.world.deploy(NAME, f"app:{tag}", labels=OPTED_IN, **more)
            await self.world.rolled_out(NAME)
            if "bad" not in tag:
                await self.world.complete(NAME)

    async def image(self) -> str:
        """Return the tag that the Deployment has now."""
        return image_of(await self.world.deployment(NAME)).rpartition(":")[2]

    async def ended(self, replica: Any, phase: str, seconds: float = 30) -> Obj:
        """Wait until the newest incident is in a phase; return it."""

        async def holds() -> bool:
            _, found = await self.ask(replica, "GET", "incidents")
            newest = (found["incidents"] or [{}])[0]
            return bool(newest.get("phase") == phase)

        await self.world.until(holds, seconds)
        return await self.incident(replica)

    async def ready(self, replica: Any) -> Obj:
        """Wait until a replica is ready; return what /ready says."""

        async def holds() -> bool:
            return (await self.look(replica, "/ready"))[0] == 200

        await self.world.until(holds)
        _, body = await self.look(replica, "/ready")
        found: Obj = body
        return found

    async def look(self, replica: Any, path: str) -> tuple[int, Any]:
        """Ask what everybody may ask."""
        async with self.session.get(f"{replica.url}{path}") as answer:
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def scene(
    home: Path, where: Connection, *, without: tuple[str, str] | None = None
) -> AsyncIterator[Scene]:
    """Set the scene: two namespaces, a ServiceAccount with the shipped roles, and people."""
    people = People()
    async with (
        real_world(where) as world,
        people.serve() as people_url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        await world.account(ACCOUNT)
        switch = {"metadata": {"name": SWITCH}}
        await world.create("ConfigMap", world.state_namespace, switch)
        async with _bound(world, without):
            config = await world.kubeconfig(await world.token(ACCOUNT))
            yield Scene(world, config, home, world.clock, people, people_url, session)


@contextlib.asynccontextmanager
async def _bound(world: RealWorld, without: tuple[str, str] | None) -> AsyncIterator[None]:
    made = []
    for obj in shipped_roles(world.namespace, world.state_namespace, without):
        if not obj.get("rules") and "roleRef" not in obj:
            continue  # nothing is left of it
        meta, plural = obj["metadata"], obj["kind"].lower() + "s"
        inside = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        answer = await world.http.post(f"{RBAC}{inside}/{plural}", obj)
        assert answer.status == 201, answer
        made.append(f"{RBAC}{inside}/{plural}/{meta['name']}")
    try:
        yield
    finally:
        for path in made:
            await world.http.delete(path)


def ours(records: list[Obj], namespace: str) -> list[Obj]:
    """Return the audit records of template writes that our ServiceAccount made and that applied."""
    return [r for r in tried(records, namespace) if r["responseStatus"]["code"] == 200]


def tried(records: list[Obj], namespace: str) -> list[Obj]:
    """Return the audit records of template writes that our ServiceAccount asked for."""
    return [
        record
        for record in records
        if record["user"]["username"].endswith(f":{ACCOUNT}")
        and record["objectRef"].get("namespace") == namespace
        and record["objectRef"]["resource"] == "deployments"
        and "dryRun" not in record["requestURI"]
        and TEMPLATE in json.dumps(record.get("requestObject"))
    ]
