"""What a person does at the command line: undo, restart, scale, deploy."""

import pytest

from receiver.sandbox import ApiError, RolloutError
from tests.kube.http import add, image_of, replace, set_image
from tests.sandbox.api import API, HISTORY, NAMESPACE, REVISION, Api, on_sandbox


async def undo(api: Api, to_revision: int = 0) -> str:
    said = api.sandbox.rollout_undo(NAMESPACE, "api", to_revision)
    await api.sandbox.settled()
    return said


async def three(api: Api) -> None:
    for image in ("app:v1", "app:v2", "app:v3"):
        await api.deployed(image, annotations={"kubernetes.io/change-cause": image})


@on_sandbox
async def test_undo_goes_to_the_second_highest_revision_and_renumbers_it(api: Api) -> None:
    await three(api)
    name = api.replicaset("app:v2")["metadata"]["name"]
    assert await undo(api) == "rolled back"
    assert image_of(api.api()) == "app:v2"
    assert api.revisions() == {"1": "app:v1", "3": "app:v3", "4": "app:v2"}
    restored = api.replicaset("app:v2")
    assert restored["metadata"]["name"] == name
    assert restored["metadata"]["annotations"][HISTORY] == "2"


@on_sandbox
async def test_a_naive_second_undo_flips_back_to_the_bad_revision(api: Api) -> None:
    await three(api)
    await undo(api)
    await undo(api)
    assert image_of(api.api()) == "app:v3"
    await undo(api)
    assert image_of(api.api()) == "app:v2"
    assert api.replicaset("app:v2")["metadata"]["annotations"][HISTORY] == "2,4"


@on_sandbox
async def test_undo_may_be_told_the_revision(api: Api) -> None:
    await three(api)
    assert await undo(api, 1) == "rolled back"
    assert image_of(api.api()) == "app:v1"
    # Renumbered: 1 is 4 now, and the old number is searched nowhere.
    with pytest.raises(RolloutError, match="unable to find specified revision 1 in history"):
        await undo(api, 1)
    assert await undo(api, 4) == ("skipped rollback (current template already matches revision 4)")


@on_sandbox
async def test_a_pruned_revision_is_not_found(api: Api) -> None:
    await api.deployed(revisionHistoryLimit=1)
    await api.deployed("app:v2")
    await api.deployed("app:v3")
    for number in (1, -1, 99):
        with pytest.raises(RolloutError, match="unable to find specified revision"):
            await undo(api, number)


@on_sandbox
async def test_with_one_revision_there_is_nothing_to_undo(api: Api) -> None:
    await api.deployed()
    with pytest.raises(RolloutError, match='no rollout history found for deployment "api"'):
        await undo(api)


@on_sandbox
async def test_what_is_not_there_cannot_be_undone(api: Api) -> None:
    with pytest.raises(ApiError) as caught:
        await undo(api)
    assert caught.value.code == 404


@on_sandbox
async def test_a_paused_deployment_is_not_undone_by_kubectl_but_by_a_patch(api: Api) -> None:
    await three(api)
    api.sandbox.pause(NAMESPACE, "api")
    with pytest.raises(RolloutError, match="cannot rollback a paused deployment"):
        await undo(api)
    assert (await api.patch(API, set_image("app:v2"))).status == 200


@on_sandbox
async def test_undo_by_a_person_rewinds_the_annotations_ours_included(api: Api) -> None:
    await three(api)
    mine = {
        "example.com/record": "about v3",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    await api.merge(API, {"metadata": {"annotations": mine}})
    await api.sandbox.settled()
    before = api.generation()
    await undo(api)
    annotations = api.api()["metadata"]["annotations"]
    assert "example.com/record" not in annotations
    assert annotations["kubernetes.io/change-cause"] == "app:v2"
    assert annotations["kubectl.kubernetes.io/last-applied-configuration"] == "{}"
    assert api.generation() == before + 1
    # The bad one keeps what was copied onto it, and gives it back when it is undone to.
    await undo(api)
    assert api.api()["metadata"]["annotations"]["example.com/record"] == "about v3"


@on_sandbox
async def test_undo_by_a_template_patch_keeps_annotations_and_copies_them(api: Api) -> None:
    await three(api)
    cause = "kubernetes.io~1change-cause"
    answer = await api.patch(
        API,
        set_image("app:v2"),
        add("/metadata/annotations/example.com~1record", "kept"),
        replace(f"/metadata/annotations/{cause}", "back to v2"),
    )
    assert answer.status == 200
    await api.sandbox.settled()
    restored = api.replicaset("app:v2")["metadata"]["annotations"]
    assert (restored[REVISION], restored[HISTORY]) == ("4", "2")
    assert restored["example.com/record"] == "kept"
    assert restored["kubernetes.io/change-cause"] == "back to v2"
    assert api.replicaset("app:v3")["metadata"]["annotations"][REVISION] == "3"


@on_sandbox
async def test_before_the_controller_has_seen_a_deploy_undo_goes_one_too_far(api: Api) -> None:
    await three(api)
    api.sandbox.controller_running = False
    api.sandbox.deploy(NAMESPACE, "api", "app:v4")
    api.sandbox.rollout_undo(NAMESPACE, "api")
    # There is no ReplicaSet of v4 yet, so the second highest is v2, not v3.
    assert image_of(api.api()) == "app:v2"


@on_sandbox
async def test_undo_overwrites_whatever_came_in_between(api: Api) -> None:
    await three(api)
    before = api.sandbox.writes[-1]
    await undo(api)
    (write,) = [w for w in api.sandbox.writes if w.by == "person" and w.at >= before.at][-1:]
    assert write.template_changed
    assert (write.verb, write.kind, write.path) == ("patch", "Deployment", API)


@on_sandbox
async def test_a_restart_makes_a_revision_of_the_same_code(api: Api) -> None:
    await api.deployed()
    await api.clock.sleep(5)
    api.sandbox.rollout_restart(NAMESPACE, "api")
    await api.sandbox.settled()
    assert api.revisions() == {"1": "app:v1", "2": "app:v1"}
    template = api.api()["spec"]["template"]["metadata"]
    assert list(template["annotations"]) == ["kubectl.kubernetes.io/restartedAt"]
    api.sandbox.pause(NAMESPACE, "api")
    with pytest.raises(RolloutError, match="can't restart paused deployment"):
        api.sandbox.rollout_restart(NAMESPACE, "api")


@on_sandbox
async def test_deploying_again_changes_what_is_told_and_nothing_else(api: Api) -> None:
    await api.deployed(replicas=2, labels={"team": "a"}, annotations={"x": "1"}, track="canary")
    await api.deployed("app:v2", labels={"more": "b"}, minReadySeconds=1)
    obj = api.api()
    assert obj["metadata"]["labels"] == {
        "app": "api",
        "track": "canary",
        "team": "a",
        "more": "b",
    }
    assert obj["metadata"]["annotations"]["x"] == "1"
    assert (obj["spec"]["replicas"], obj["spec"]["minReadySeconds"]) == (2, 1)
    assert image_of(obj) == "app:v2"


@on_sandbox
async def test_deploying_makes_the_namespace_it_needs(api: Api) -> None:
    api.sandbox.deploy("new", "api", "app:v1")
    api.sandbox.create_namespace("new")
    await api.sandbox.settled()
    assert len(api.sandbox.list("Pod", "new")) == 3


@on_sandbox
async def test_a_revision_that_cannot_be_read_is_passed_over(api: Api) -> None:
    await three(api)
    name = api.replicaset("app:v2")["metadata"]["name"]
    api.sandbox.merge_patch(
        "ReplicaSet", NAMESPACE, name, {"metadata": {"annotations": {REVISION: "two"}}}
    )
    await undo(api)
    assert image_of(api.api()) == "app:v1"
