import json
from datetime import timedelta
from typing import Any

import pytest

from receiver import rollout as ro
from receiver.rollout import Progressing, Record
from receiver.rollout.patches import _pointer
from tests.builders import (
    NAME,
    NAMESPACE,
    UID,
    Counts,
    at,
    code,
    deployment,
    hash_of,
    iso,
    replicaset,
    rollout,
    template,
    three,
    undone,
)

# --- code


def _with(path: str, value: Any) -> ro.Obj:
    changed = json.loads(json.dumps(template("v1")))
    *steps, last = path.split("/")
    found: Any = changed
    for step in steps:
        found = found[int(step)] if isinstance(found, list) else found.setdefault(step, {})
    found[last] = value
    result: ro.Obj = changed
    return result


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(template("v1", restarted="2026-03-01T10:00:00Z"), id="restarted"),
        pytest.param(template("v1", hash_="7c9fv1"), id="hash-label"),
        pytest.param(_with("metadata/annotations", {}), id="empty-annotations"),
        pytest.param(_with("metadata/annotations", None), id="null-annotations"),
        pytest.param(_with("spec/containers/0/livenessProbe", None), id="null-field"),
        pytest.param(_with("spec/nodeSelector", None), id="null-map"),
    ],
)
def test_templates_that_differ_in_nothing_but_this_are_the_same_code(other: ro.Obj) -> None:
    assert ro.code_of(other) == ro.code_of(template("v1"))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(template("v2"), id="image"),
        pytest.param(_with("spec/volumes", [{"name": "tmp"}]), id="emptyDir-dropped"),
        pytest.param(_with("metadata/annotations", {"checksum/config": "1"}), id="annotation"),
        pytest.param(_with("metadata/labels/track", "canary"), id="label"),
        pytest.param(_with("spec/containers/0/env", [{"name": "A", "value": ""}]), id="env"),
    ],
)
def test_templates_that_differ_in_this_are_other_code(other: ro.Obj) -> None:
    assert ro.code_of(other) != ro.code_of(template("v1"))


def test_a_code_is_sixteen_hex_digits() -> None:
    assert len(code("v1")) == 16
    assert int(code("v1"), 16) >= 0


def test_a_code_does_not_depend_on_the_order_of_keys() -> None:
    turned = dict(reversed(template("v1").items()))
    assert ro.code_of(turned) == code("v1")


def test_a_pure_template_loses_the_hash_label_and_keeps_the_rest() -> None:
    original = template("v1", restarted="x", hash_="abc")
    assert ro.pure(original) == template("v1", restarted="x")
    assert original["metadata"]["labels"][ro.HASH] == "abc"


# --- reading


def test_a_rollout_is_read_with_the_highest_number_first() -> None:
    found = rollout()
    assert [(r.number, r.hash) for r in found.revisions] == [
        (3, "7c9fv3"),
        (2, "7c9fv2"),
        (1, "7c9fv1"),
    ]
    assert (found.namespace, found.name, found.uid) == (NAMESPACE, NAME, UID)
    assert (found.generation, found.observed_generation, found.version) == (7, 7, "4711")
    assert (found.desired, found.replicas, found.updated, found.available) == (3, 3, 3, 3)
    assert found.progressing == Progressing(
        reason="NewReplicaSetAvailable", updated_at="2026-03-02T11:56:00Z"
    )
    assert found.deadline == timedelta(seconds=600)
    assert found.min_ready == timedelta(0)
    assert (found.deleting, found.paused, found.observed) == (False, False, True)


def test_a_revision_is_read_whole() -> None:
    raw = replicaset(12, "v9", created=-90, history="3,7", cause="fix", pods=2)
    revision = rollout(raw, tag="v9").revisions[0]
    assert revision.number == 12
    assert revision.history == (3, 7)
    assert revision.created_at == at(-90)
    assert revision.cause == "fix"
    assert revision.replicas == 2
    assert revision.name == "checkout-7c9fv9"
    assert revision.uid == "rs-7c9fv9"
    assert revision.code == code("v9")
    assert revision.images == (("app", "registry.example/checkout:v9"),)
    assert revision.template == template("v9")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(None, id="absent"),
        pytest.param("", id="empty"),
        pytest.param("three", id="word"),
        pytest.param("-3", id="negative"),
        pytest.param("3.0", id="fraction"),
        pytest.param("9" * 5000, id="beyond-what-python-converts"),
        pytest.param("9" * 30, id="beyond-64-bits"),
        pytest.param("\u0663", id="arabic-digit"),
    ],
)
def test_a_replicaset_without_a_readable_number_is_no_revision(number: str | None) -> None:
    found = rollout(*three(), replicaset(number, "v8", created=-1))
    assert [r.number for r in found.revisions] == [3, 2, 1]


@pytest.mark.parametrize(
    ("text", "history"),
    [
        ("2", (2,)),
        ("2,5", (2, 5)),
        ("", ()),
        ("2,x,5", (2, 5)),
        (" 2 , 5 ", (2, 5)),
        ("2," + "9" * 5000, (2,)),
    ],
    ids=["one", "two", "none", "junk", "spaces", "huge"],
)
def test_the_history_of_a_revision_is_what_can_be_read_of_it(
    text: str, history: tuple[int, ...]
) -> None:
    found = rollout(replicaset(6, "v3", created=-5, history=text))
    assert found.revisions[0].history == history


def test_what_the_api_server_leaves_out_has_its_default() -> None:
    raw = deployment()
    del raw["status"]
    del raw["spec"]["progressDeadlineSeconds"]
    del raw["metadata"]["labels"]
    del raw["metadata"]["annotations"]
    found = ro.read(raw, ())
    assert (found.observed_generation, found.replicas, found.progressing) == (0, 0, None)
    assert found.deadline == timedelta(seconds=600)
    assert (found.labels, found.annotations, found.revisions) == ({}, {}, ())
    assert found.current is None
    assert found.track == "stable"


def test_a_deadline_of_max_int_is_no_deadline() -> None:
    assert rollout(spec={"progressDeadlineSeconds": 2**31 - 1}).deadline is None


def test_init_containers_come_first_among_the_images() -> None:
    raw = template("v1", initContainers=[{"name": "migrate", "image": "m:1"}])
    assert ro.images_of(raw) == (("migrate", "m:1"), ("app", "registry.example/checkout:v1"))


# --- current


def test_current_is_the_revision_of_the_same_template_whatever_its_number() -> None:
    found = rollout(tag="v1")
    assert found.current is not None
    assert found.current.number == 1


def test_current_is_the_oldest_of_equal_templates() -> None:
    found = rollout(
        replicaset(4, "v3", created=-4, suffix="b"),
        replicaset(3, "v3", created=-6, suffix="a"),
        replicaset(5, "v3", created=-5, suffix="c"),
    )
    assert found.current is not None
    assert found.current.hash == "7c9fv3a"


@pytest.mark.parametrize("annotations", [None, {}], ids=["null", "empty"])
def test_a_template_with_empty_annotations_is_that_without(annotations: Any) -> None:
    raw = deployment()
    raw["spec"]["template"]["metadata"]["annotations"] = annotations
    found = ro.read(raw, three())
    assert found.current is not None
    assert found.current.number == 3


def test_a_sibling_is_not_current() -> None:
    found = rollout(
        replicaset(3, "v3", created=-9),
        replicaset(4, "v3", created=-5, restarted="now"),
        restarted="now",
    )
    assert found.current is not None
    assert found.current.number == 4


def test_a_template_without_replicaset_has_no_current_and_is_not_observed() -> None:
    found = rollout(tag="v4")
    assert found.current is None
    assert found.code == code("v4")
    assert not found.observed


def test_a_controller_that_is_behind_has_not_observed() -> None:
    assert not rollout(observed=6).observed
    assert rollout(observed=7).observed


# --- marks of the Deployment

ARGO, FLUX = "argocd.argoproj.io/tracking-id", "kustomize.toolkit.fluxcd.io/name"


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({}, ""),
        ({"annotations": {ARGO: "a:apps/Deployment"}}, ARGO),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "argocd.argoproj.io/instance"),
        ({"labels": {FLUX: "shop"}}, FLUX),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}, "helm.toolkit.fluxcd.io/name"),
        ({"labels": {"app.kubernetes.io/instance": "shop"}}, ""),
        (
            {
                "labels": {FLUX: "shop"},
                "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
            },
            "",
        ),
    ],
    ids=["none", "argo", "argo-label", "flux", "flux-helm", "ambiguous", "flux-disabled"],
)
def test_the_mark_of_a_gitops_controller_is_found(changes: dict[str, Any], mark: str) -> None:
    assert rollout(**changes).gitops == mark


def test_the_track_is_that_of_the_label() -> None:
    assert rollout().track == "stable"
    assert rollout(labels={"track": "canary"}).track == "canary"


# --- history


def test_a_release_is_as_old_as_its_oldest_contiguous_sibling() -> None:
    found = rollout(
        replicaset(1, "v3", created=-100),
        replicaset(2, "v2", created=-50),
        replicaset(3, "v3", created=-20, restarted="a"),
        replicaset(4, "v3", created=-10, restarted="b", suffix="b"),
        replicaset(5, "v3", created=-5, restarted="now", suffix="c"),
        restarted="now",
    )
    assert ro.release_started(found) == at(-20)


def test_what_is_numbered_above_the_current_revision_does_not_end_its_release() -> None:
    """Between an undo and the controller's renumbering, current is not the highest."""
    assert ro.release_started(rollout(tag="v2")) == at(-1440)


def test_no_current_revision_means_no_start_of_a_release() -> None:
    assert ro.release_started(rollout(tag="v4")) is None


def test_a_code_is_reactivated_when_any_sibling_of_it_was() -> None:
    found = rollout(
        replicaset(3, "v2", created=-50, history="1"),
        replicaset(4, "v2", created=-5, restarted="now"),
        replicaset(2, "v1", created=-60),
        tag="v2",
        restarted="now",
    )
    assert ro.reactivated(found, code("v2"))
    assert not ro.reactivated(found, code("v1"))


@pytest.mark.parametrize(
    ("numbers", "current", "left"),
    [
        pytest.param({"v1": (1, ""), "v2": (2, ""), "v3": (3, "")}, "v3", set(), id="nothing"),
        pytest.param({"v1": (1, ""), "v2": (4, "2"), "v3": (3, "")}, "v2", {"v3"}, id="undo once"),
        pytest.param(
            {"v1": (1, ""), "v2": (4, "2"), "v3": (5, "3")}, "v3", {"v2"}, id="undo twice"
        ),
        pytest.param({"v1": (1, ""), "v2": (6, "2,4"), "v3": (5, "3")}, "v2", {"v3"}, id="thrice"),
        pytest.param(
            {"v1": (4, "1"), "v2": (2, ""), "v3": (3, "")}, "v1", {"v3"}, id="several steps"
        ),
        pytest.param(
            {"v1": (5, "1"), "v2": (4, "2"), "v3": (3, "")}, "v1", {"v3", "v2"}, id="two undos"
        ),
        pytest.param(
            {"v1": (1, ""), "v2": (4, "2"), "v3": (3, ""), "v4": (5, "")},
            "v4",
            {"v3"},
            id="a new release after an undo",
        ),
        pytest.param(
            {"v1": (1, ""), "v2": (6, "2,4"), "v3": (3, ""), "v4": (5, "")},
            "v2",
            {"v3", "v4"},
            id="two bad releases",
        ),
        pytest.param(
            {"v1": (3, "1"), "v2": (2, "")}, "v1", {"v2"}, id="roll forward to an old template"
        ),
        pytest.param(
            {"v1": (1, ""), "v2": (4, "2"), "v3": (3, ""), "v5": (6, ""), "v4": (5, "")},
            "v5",
            {"v3"},
            id="ordinary releases leave nothing",
        ),
    ],
)
def test_what_was_left_by_an_undo_is_seen_from_the_numbers(
    numbers: dict[str, tuple[int, str]], current: str, left: set[str]
) -> None:
    raws = [
        replicaset(n, tag, created=-100 + int(tag[1]), history=history)
        for tag, (n, history) in numbers.items()
    ]
    assert ro.left_by_undo(rollout(*raws, tag=current)) == {code(tag) for tag in left}


def test_siblings_of_what_was_left_are_left_and_an_undo_of_a_restart_leaves_nothing() -> None:
    bad_restarted = rollout(
        replicaset(5, "v2", created=-90, history="2"),
        replicaset(3, "v3", created=-80),
        replicaset(4, "v3", created=-70, restarted="a"),
        tag="v2",
    )
    assert ro.left_by_undo(bad_restarted) == {code("v3")}
    restart_undone = rollout(
        replicaset(4, "v3", created=-80, history="2"),
        replicaset(3, "v3", created=-70, restarted="a"),
    )
    assert ro.left_by_undo(restart_undone) == frozenset()


def test_the_destination_is_the_highest_that_is_other_code_and_not_excluded() -> None:
    found = rollout(*three(), replicaset(4, "v3", created=-1, restarted="now"), restarted="now")
    two, one = ro.destination(found, ()), ro.destination(found, {code("v2")})
    assert two is not None
    assert two.number == 2
    assert one is not None
    assert one.number == 1
    assert ro.destination(found, {code("v2"), code("v1")}) is None


def test_the_destination_of_a_template_without_replicaset_may_be_the_highest() -> None:
    found = ro.destination(rollout(tag="v4"), ())
    assert found is not None
    assert found.number == 3


def test_a_revision_is_found_by_present_number_and_by_hash() -> None:
    found = undone()
    by_number, by_hash = ro.numbered(found, 4), ro.hashed(found, hash_of("v2"))
    assert by_number is not None
    assert by_number == by_hash
    assert by_number.code == code("v2")
    assert ro.numbered(found, 2) is None, "old numbers are not searched"
    assert ro.hashed(found, "nothing") is None


def test_siblings_are_all_of_one_code() -> None:
    found = rollout(*three(), replicaset(4, "v3", created=-1, restarted="now"))
    assert [r.number for r in found.siblings(code("v3"))] == [4, 3]


# --- patches

GUARD: list[ro.Obj] = [
    {"op": "test", "path": "/metadata/uid", "value": UID},
    {"op": "test", "path": "/metadata/generation", "value": 7},
]
ANNOTATION = "/metadata/annotations/"


def _undo(found: ro.Rollout) -> list[ro.Obj]:
    to = ro.numbered(found, 2)
    assert to is not None
    return ro.undo(found, to, record={"intent": "i", "id": "inc-1"}, cause="undone")


def test_an_undo_guards_swaps_and_records_in_one_patch() -> None:
    assert _undo(rollout()) == [
        *GUARD,
        {"op": "replace", "path": "/spec/template", "value": template("v2")},
        {"op": "add", "path": ANNOTATION + "kubernetes.io~1change-cause", "value": "undone"},
        {
            "op": "add",
            "path": ANNOTATION + "rollback-receiver~1record",
            "value": '{"id": "inc-1", "intent": "i"}',
        },
    ]


def test_an_undo_makes_the_annotations_where_there_are_none() -> None:
    raw = deployment()
    del raw["metadata"]["annotations"]
    operations = _undo(ro.read(raw, three()))
    assert operations[3:] == [
        {
            "op": "add",
            "path": "/metadata/annotations",
            "value": {ro.CAUSE: "undone", ro.RECORD: '{"id": "inc-1", "intent": "i"}'},
        }
    ]


def test_an_undo_drops_the_suspects_whose_fence_has_done_its_work() -> None:
    operations = _undo(rollout(annotations={ro.SUSPECTS: "abc"}))
    assert operations[-1] == {"op": "remove", "path": ANNOTATION + "rollback-receiver~1suspects"}
    assert len(operations) == 6


def test_a_promotion_guards_swaps_and_records_in_one_patch() -> None:
    found = ro.promote(rollout(), template("v4"), record={"intent": "i", "id": "rel-1"}, cause="up")
    assert found == [
        *GUARD,
        {"op": "replace", "path": "/spec/template", "value": template("v4")},
        {"op": "add", "path": ANNOTATION + "kubernetes.io~1change-cause", "value": "up"},
        {
            "op": "add",
            "path": ANNOTATION + "rollback-receiver~1record",
            "value": '{"id": "rel-1", "intent": "i"}',
        },
    ]


def test_a_share_changes_only_what_has_to_and_always_leaves_its_note() -> None:
    note = {"op": "add", "path": ANNOTATION + "rollback-receiver~1release", "value": "n"}
    scaled = {"op": "replace", "path": "/spec/replicas", "value": 5}
    assert ro.share(rollout(), 3, note="n", cause="c") == [*GUARD, note]
    assert ro.share(rollout(), 5, note="n", cause="c") == [*GUARD, scaled, note]
    assert ro.share(rollout(), 5, note="n", cause="c", template=template("v4")) == [
        *GUARD,
        {"op": "replace", "path": "/spec/template", "value": template("v4")},
        scaled,
        note,
        {"op": "add", "path": ANNOTATION + "kubernetes.io~1change-cause", "value": "c"},
    ]


@pytest.mark.parametrize(
    ("name", "track", "of"),
    [
        ("checkout-canary", "canary", "checkout"),
        ("checkout-canary", "stable", ""),
        ("checkout", "canary", ""),
        ("-canary", "canary", ""),
    ],
)
def test_a_canary_is_one_by_name_and_track(name: str, track: str, of: str) -> None:
    raw = deployment(labels={"track": track})
    raw["metadata"]["name"] = name
    assert ro.read(raw, three()).canary_of == of


def test_a_void_tests_the_generation_of_the_intent_and_names_it() -> None:
    assert ro.void(rollout(generation=9), 7, "intent-1") == [
        *GUARD,
        {"op": "add", "path": ANNOTATION + "rollback-receiver~1void", "value": "intent-1"},
    ]


def test_a_fence_tests_the_uid_alone_and_adds_to_the_suspects_named() -> None:
    found = rollout(annotations={ro.SUSPECTS: "ccc,aaa"})
    assert ro.suspects_named(found) == {"aaa", "ccc"}
    assert ro.fence(found, {"bbb", "aaa"}) == [
        GUARD[0],
        {
            "op": "add",
            "path": ANNOTATION + "rollback-receiver~1suspects",
            "value": "aaa,bbb,ccc",
        },
    ]
    assert ro.suspects_named(rollout()) == frozenset()


@pytest.mark.parametrize(
    ("key", "step"),
    [("a/b", "a~1b"), ("a~b", "a~0b"), ("~1/", "~01~1"), ("plain", "plain")],
)
def test_a_step_of_a_json_pointer_is_escaped(key: str, step: str) -> None:
    assert _pointer(key) == step


# --- the fate of an intent


@pytest.mark.parametrize(
    ("value", "record"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("", None, id="empty"),
        pytest.param("{", None, id="no JSON"),
        pytest.param("[]", None, id="list"),
        pytest.param("null", None, id="null"),
        pytest.param('"id"', None, id="text"),
        pytest.param("7", None, id="number"),
        pytest.param('{"id": "inc-1"}', None, id="no intent"),
        pytest.param("[" * 100_000, None, id="deep"),
        pytest.param(
            '{"id": "inc-1", "intent": "i-1", "new": 1}',
            Record(incident="inc-1", intent="i-1"),
            id="ours",
        ),
    ],
)
def test_a_record_is_read_or_there_is_none(value: str | None, record: Record | None) -> None:
    annotations = {} if value is None else {ro.RECORD: value}
    assert ro.record_in(annotations) == record


OURS = {ro.RECORD: json.dumps({"id": "inc-1", "intent": "i-1"})}
OTHER = {ro.RECORD: json.dumps({"id": "inc-1", "intent": "i-0"})}


@pytest.mark.parametrize(
    ("on_deployment", "on_replicaset", "fate"),
    [
        pytest.param({}, {}, "unknown", id="nothing"),
        pytest.param(OURS, {}, "applied", id="record on the Deployment"),
        pytest.param({}, OURS, "applied", id="record on a ReplicaSet"),
        pytest.param(OTHER, OTHER, "unknown", id="record of another intent"),
        pytest.param({ro.VOID: "i-1"}, {}, "voided", id="void on the Deployment"),
        pytest.param({}, {ro.VOID: "i-1"}, "voided", id="void on a ReplicaSet"),
        pytest.param({ro.VOID: "i-0"}, {}, "unknown", id="void of another intent"),
        pytest.param(OTHER, OURS, "applied", id="applied before another"),
        pytest.param({ro.VOID: "i-1"}, OURS, "applied", id="a record outweighs a void"),
        pytest.param({ro.RECORD: "junk"}, {}, "unknown", id="junk"),
    ],
)
def test_the_fate_of_an_intent_is_what_the_objects_say(
    on_deployment: dict[str, str], on_replicaset: dict[str, str], fate: str
) -> None:
    found = rollout(
        replicaset(1, "v1", created=-9, annotations=on_replicaset),
        replicaset(2, "v3", created=-5),
        annotations=on_deployment,
    )
    assert ro.fate(found, "i-1") == fate


# --- progress

EXCEEDED = ("ProgressDeadlineExceeded", iso(at(-60)))
STALE = Progressing(reason=EXCEEDED[0], updated_at=EXCEEDED[1])
DONE = "3 replicas are updated and available"


@pytest.mark.parametrize(
    ("changes", "before", "state", "text"),
    [
        pytest.param({}, None, "done", DONE, id="done"),
        pytest.param(
            {"observed": 6, "progressing": EXCEEDED},
            None,
            "waiting",
            "waiting for the controller to see the change",
            id="not seen, before the deadline",
        ),
        pytest.param(
            {"progressing": EXCEEDED, "counts": Counts(updated=1)},
            None,
            "failed",
            "the rollout exceeded its progress deadline",
            id="deadline, before the counts",
        ),
        pytest.param({"progressing": EXCEEDED}, STALE, "done", DONE, id="stale deadline"),
        pytest.param(
            {"progressing": (EXCEEDED[0], iso(at(-1)))},
            STALE,
            "failed",
            "the rollout exceeded its progress deadline",
            id="deadline again",
        ),
        pytest.param(
            {"counts": Counts(total=4, updated=1, available=3)},
            None,
            "waiting",
            "1 of 3 replicas are updated",
            id="updating, before old pods",
        ),
        pytest.param(
            {"counts": Counts(total=4, updated=3, available=2)},
            None,
            "waiting",
            "1 old replicas are pending termination",
            id="old pods, before availability",
        ),
        pytest.param(
            {"counts": Counts(total=3, updated=3, available=2)},
            None,
            "waiting",
            "2 of 3 updated replicas are available",
            id="not available",
        ),
        pytest.param(
            {"counts": Counts(desired=0, total=0, updated=0, available=0)},
            None,
            "done",
            "0 replicas are updated and available",
            id="scaled to zero",
        ),
        pytest.param({"progressing": None}, None, "done", DONE, id="no condition"),
    ],
)
def test_progress_is_judged_in_the_order_of_kubectl(
    changes: dict[str, Any], before: Progressing | None, state: str, text: str
) -> None:
    found = ro.progress(rollout(**changes), 7, before)
    assert (found.state, found.text) == (state, text)


def test_progress_waits_for_the_generation_of_our_patch_even_on_an_old_read() -> None:
    assert ro.progress(rollout(generation=7), 8, None).state == "waiting"
    assert ro.progress(rollout(generation=8), 8, None).state == "done"


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 660),
        ({"progressDeadlineSeconds": 120, "minReadySeconds": 30}, 210),
        ({"progressDeadlineSeconds": 2**31 - 1}, 660),
    ],
    ids=["default", "own", "no deadline"],
)
def test_patience_is_the_deadline_and_the_margin(spec: dict[str, int], seconds: int) -> None:
    patience = ro.patience(rollout(spec=spec), timedelta(seconds=60))
    assert patience == timedelta(seconds=seconds)
