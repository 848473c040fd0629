"""The objects, and the one way to change them: what etcd and the registry's strategies do.

Everybody writes through here - HTTP, the controllers, the kubelet, a person in Python - so that
uid, resourceVersion, generation, the watch log and the list of writes agree by construction.
Stored objects are never changed in place; who reads one must not either.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from random import Random  # noqa: TID251 - only its type; the generator is handed in
from typing import Any
from uuid import UUID

from receiver.sandbox.objects import (
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    ROUTES,
    Clock,
    Key,
    Obj,
    Resource,
    clone,
    key_of,
    stamp,
)
from receiver.sandbox.patch import same
from receiver.sandbox.schema import decode_fault, read, unknown_fields
from receiver.sandbox.status import (
    already_exists,
    bad_request,
    cause,
    conflict,
    expired,
    invalid,
    not_found,
)
from receiver.sandbox.validation import defaulted, faults_of

# What a name is completed with (apimachinery pkg/util/rand: no vowels, nothing that looks alike).
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
NAMESPACE_DIFFERS = (
    "the namespace of the provided object does not match the namespace sent on the request"
)


@dataclass(frozen=True)
class Write:
    """One committed write, whoever made it."""

    at: datetime
    by: str
    verb: str
    path: str
    kind: str
    namespace: str
    name: str
    before: Obj | None
    after: Obj | None
    template_changed: bool
    generation: int | None


@dataclass(frozen=True)
class Change:
    """One entry of the watch log."""

    version: int
    resource: Resource
    before: Obj | None
    after: Obj | None


class Store:
    """All objects of the sandbox."""

    def __init__(self, clock: Clock, rng: Random, window: int = 1000) -> None:
        self.clock = clock
        self.rng = rng
        self.version = 1000
        self.writes: list[Write] = []
        self.listeners: list[Callable[[Change], None]] = []
        self._objects: dict[str, dict[Key, Obj]] = {}
        self._log: deque[Change] = deque(maxlen=window)

    # --- reading

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """Return the stored object itself."""
        return self._objects.get(resource.plural, {}).get((namespace, name))

    def all(self, resource: Resource, namespace: str | None = None) -> list[Obj]:
        """Return the stored objects, ordered as etcd orders keys; None and "" mean everywhere."""
        found = self._objects.get(resource.plural, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def snapshot(self) -> dict[str, list[Obj]]:
        """Return every object by plural, as a cache would hold them."""
        return {plural: list(found.values()) for plural, found in self._objects.items()}

    def at(self, version: int, resource: Resource, namespace: str | None = None) -> list[Obj]:
        """Return the objects as they were at a version; 410 when that is forgotten."""
        found = dict(self._objects.get(resource.plural, {}))
        for change in reversed(list(self.changes_after(version))):
            obj = change.before or change.after
            if change.resource == resource and obj is not None:
                found.pop(key_of(obj), None)
                found |= {key_of(obj): change.before} if change.before else {}
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def changes_after(self, version: int) -> Iterator[Change]:
        """Return the log after a version; 410 when a part of that is gone."""
        oldest = self.version - len(self._log)
        if version < oldest:
            raise expired(f"too old resource version: {version} ({oldest})")
        return islice(self._log, version - oldest, None)

    def compact(self) -> None:
        """Forget the watch log, as etcd's compaction does: older watches are told 410."""
        self._log.clear()

    # --- writing

    def create(
        self,
        resource: Resource,
        namespace: str,
        obj: Any,
        *,
        by: str,
        dry_run: bool = False,
        strict: bool = False,
    ) -> Obj:
        """Create an object (registry store.Create, rest.BeforeCreate)."""
        obj = self._read(resource, obj, "create", strict=strict)
        meta = obj["metadata"]
        if resource.namespaced:
            if meta.get("namespace", namespace) != namespace:
                raise bad_request(NAMESPACE_DIFFERS)
            if self.get(NAMESPACES, "", namespace) is None:
                raise not_found(NAMESPACES, namespace)
        if meta.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + self.suffix()
        meta.update({"namespace": namespace} if resource.namespaced else {})
        meta["uid"] = str(UUID(int=self.rng.getrandbits(128), version=4))
        meta["creationTimestamp"] = stamp(self.clock.now())
        meta.pop("deletionTimestamp", None)
        meta.pop("generation", None)
        if resource in (DEPLOYMENTS, REPLICASETS, ROUTES):
            meta["generation"] = 1
            obj["status"] = {}
        elif resource == PODS:
            obj["status"] = {"phase": "Pending"}
        elif resource == NAMESPACES:
            obj["status"] = {"phase": "Active"}
        name = meta.get("name") or ""
        if causes := faults_of(resource, obj, None):
            raise invalid(resource.kind, resource.group, name, causes)
        if self.get(resource, namespace, name) is not None:
            raise already_exists(resource, name)
        path = resource.path(namespace)
        return obj if dry_run else self._commit(resource, None, obj, by, "create", path)

    def change(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        how: Callable[[Obj], Any],
        *,
        by: str,
        verb: str = "update",
        subresource: str = "",
        dry_run: bool = False,
        strict: bool = False,
    ) -> Obj:
        """Replace an object by what `how` makes of it (registry store.Update, GuaranteedUpdate).

        `how` is given the very version that is replaced, so a `test` in it is a compare-and-set.
        """
        before = self.get(resource, namespace, name)
        if before is None:
            raise not_found(resource, name)
        after = self._read(resource, how(clone(before)), verb, before, strict=strict)
        self._check_name(resource, namespace, name, after)
        if verb == "update" and resource == ROUTES and not after["metadata"].get("resourceVersion"):
            # Of the kinds here, only custom resources refuse an update of whatever is there.
            text = "Invalid value: 0x0: must be specified for an update"
            causes = [cause("FieldValueInvalid", "metadata.resourceVersion", text)]
            raise invalid(resource.kind, resource.group, name, causes)
        self._check_preconditions(resource, before, after)
        self._prepare(resource, before, after, subresource)
        if causes := faults_of(resource, after, before):
            raise invalid(resource.kind, resource.group, name, causes)
        if same(before, after):
            # etcd3 store.go: nothing is written, and the resourceVersion stays.
            return before
        if dry_run:
            return after
        path = resource.path(namespace, name, subresource)
        meta = after["metadata"]
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            return self._commit(resource, after, None, by, "delete", path)
        return self._commit(resource, before, after, by, verb, path)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        by: str,
        preconditions: Obj | None = None,
        dry_run: bool = False,
    ) -> Obj:
        """Delete an object, or mark it while finalizers hold it (rest.BeforeDelete)."""
        before = self.get(resource, namespace, name)
        if before is None:
            raise not_found(resource, name)
        for field, wanted in (preconditions or {}).items():
            if wanted is not None and before["metadata"].get(field) != wanted:
                what = "UID" if field == "uid" else "ResourceVersion"
                raise conflict(
                    resource,
                    name,
                    f"Precondition failed: {what} in precondition: {wanted}, {what} in object "
                    f"meta: {before['metadata'].get(field)}",
                )
        if dry_run:
            return before
        path = resource.path(namespace, name)
        if before["metadata"].get("finalizers"):
            if before["metadata"].get("deletionTimestamp"):
                return before
            after = clone(before)
            meta = after["metadata"]
            meta["deletionTimestamp"] = stamp(self.clock.now())
            meta["deletionGracePeriodSeconds"] = 0
            if "generation" in meta:
                meta["generation"] += 1
            return self._commit(resource, before, after, by, "delete", path)
        return self._commit(resource, before, None, by, "delete", path)

    def suffix(self) -> str:
        """Return five characters that complete a generated name."""
        return "".join(self.rng.choices(ALPHABET, k=5))

    # --- the rules

    @staticmethod
    def _read(
        resource: Resource, obj: Any, verb: str, before: Obj | None = None, *, strict: bool
    ) -> Obj:
        new = _changed(obj, before) if before and isinstance(obj, dict) else obj
        fault = decode_fault(resource, new)
        if fault is None and strict and (unknown := unknown_fields(resource, new)):
            listed = ", ".join(f'unknown field "{field}"' for field in unknown)
            fault = f"strict decoding error: {listed}"
        if fault is not None and verb == "patch":
            # patch.go reports the whole patched object, however large it is.
            shown = json.dumps(obj, separators=(",", ":"))
            text = f"Invalid value: {json.dumps(shown)}: {fault}"
            raise invalid("", "", "", [cause("FieldValueInvalid", "patch", text)])
        if fault is not None:
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a '
                f"{resource.kind}: {fault}"
            )
        for field, wanted in (("apiVersion", resource.api_version), ("kind", resource.kind)):
            if (given := obj.get(field) or wanted) != wanted:
                what = "API version" if field == "apiVersion" else field
                raise bad_request(
                    f"the {what} in the data ({given}) does not match the expected {what} "
                    f"({wanted})"
                )
        written = read(resource, new)
        kept = {k: written.get(k) if k in new else obj[k] for k in obj}
        return defaulted(resource, {k: value for k, value in kept.items() if value is not None})

    @staticmethod
    def _check_name(resource: Resource, namespace: str, name: str, obj: Obj) -> None:
        """Compare an object with the path it was sent to (handlers/rest.go checkName)."""
        meta = obj["metadata"]
        if resource.namespaced and meta.get("namespace", namespace) != namespace:
            raise bad_request(NAMESPACE_DIFFERS)
        if not meta.get("name"):
            raise bad_request(
                f"the name of the object ({name} based on URL) was undeterminable: "
                "name must be provided"
            )
        if meta["name"] != name:
            raise bad_request(
                f"the name of the object ({meta['name']}) does not match the name on the URL "
                f"({name})"
            )

    @staticmethod
    def _check_preconditions(resource: Resource, before: Obj, after: Obj) -> None:
        old, new = before["metadata"], after["metadata"]
        if new.get("uid", old["uid"]) != old["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {new['uid']}, "
                f"UID in object meta: {old['uid']}"
            )
            raise conflict(resource, old["name"], why)
        if (new.get("resourceVersion") or old["resourceVersion"]) != old["resourceVersion"]:
            raise conflict(resource, old["name"])

    @staticmethod
    def _prepare(resource: Resource, before: Obj, after: Obj, subresource: str) -> None:
        """Keep what this writer may not change (the PrepareForUpdate of each strategy.go)."""
        old, new = before["metadata"], after["metadata"]
        server_side = (
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "resourceVersion",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        )
        for field in server_side:
            new.pop(field, None)
            if field in old:
                new[field] = old[field]
        kept = "spec" if subresource == "status" else "status"
        if "status" in resource.subresources:
            after.pop(kept, None)
            if kept in before:
                after[kept] = clone(before[kept])
        if subresource == "status":
            # deploymentStatusStrategy keeps the labels too, but not the annotations.
            if resource == DEPLOYMENTS:
                new.pop("labels", None)
                new |= {"labels": clone(old["labels"])} if "labels" in old else {}
        elif "generation" in old:
            moved = not same(before.get("spec"), after.get("spec"))
            if resource == DEPLOYMENTS:
                # Of the kinds here only this one counts its annotations.
                moved |= (old.get("annotations") or {}) != (new.get("annotations") or {})
            new["generation"] += moved

    def _commit(
        self,
        resource: Resource,
        before: Obj | None,
        after: Obj | None,
        by: str,
        verb: str,
        path: str,
    ) -> Obj:
        self.version += 1
        obj = clone(after if after is not None else before)
        assert isinstance(obj, dict)  # noqa: S101 - one of the two is given
        obj["metadata"]["resourceVersion"] = str(self.version)
        namespace, name = key_of(obj)
        objects = self._objects.setdefault(resource.plural, {})
        if after is None:
            objects.pop((namespace, name), None)
        else:
            objects[namespace, name] = obj
        stored = obj if after is not None else None
        self.writes.append(
            Write(
                at=self.clock.now(),
                by=by,
                verb=verb,
                path=path,
                kind=resource.kind,
                namespace=namespace,
                name=name,
                before=before,
                after=stored,
                template_changed=(
                    resource == DEPLOYMENTS
                    and before is not None
                    and stored is not None
                    and not same(before["spec"]["template"], stored["spec"]["template"])
                ),
                generation=obj["metadata"].get("generation") if stored else None,
            )
        )
        change = Change(self.version, resource, before, stored)
        self._log.append(change)
        for listener in tuple(self.listeners):
            listener(change)
        return obj


def _changed(obj: Obj, before: Obj) -> Obj:
    """Return the part of an object that has to be read: the rest is as it was, and was read then.

    The metadata always, for they are changed in place afterwards.
    """
    return {
        field: value
        for field, value in obj.items()
        if field == "metadata" or field not in before or not same(value, before[field])
    }
