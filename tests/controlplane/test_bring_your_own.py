"""The control plane of the tests itself, and the tests on one that somebody brings."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.controlplane.plane import PROGRAMS, ControlPlane, control_plane, programs
from tests.controlplane.world import REAL

pytestmark = REAL
ROOT = Path(__file__).parents[2]
CONTRACT = "tests/kube/test_contract_state.py::test_the_first_beat_makes_the_configmap"
SERVICE = "tests/controlplane/test_service.py::test_the_switch_holds_a_decided_rollback_back"
# Nothing of these would be there, whoever runs the tests.
OURS = ("PYTEST_", "COV", "KUBE", "XDG_", "CI")


def _pytest(environment: dict[str, str], *arguments: str, fails: bool = False) -> str:
    """Run tests as somebody else would; return what pytest says."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-rs", "-p", "no:cacheprovider", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=kept | environment,
    )
    assert (answer.returncode == 1) is fails, answer.stdout + answer.stderr
    return answer.stdout


def test_the_tests_run_on_the_cluster_of_a_context(tmp_path: Path, plane: ControlPlane) -> None:
    config = plane.kubeconfig()
    elsewhere = {"name": "elsewhere", "context": {"cluster": "nowhere", "user": "tests"}}
    config["contexts"] = [elsewhere, config["contexts"][0] | {"name": "the-one"}]
    config["clusters"].append({"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}})
    config["current-context"] = "elsewhere"
    (tmp_path / "config").write_text(json.dumps(config))
    since = plane.audit_size()
    environment = {
        "KUBECONFIG": str(tmp_path / "config"),
        "PATH": f"{Path(plane.connection.kubectl).parent}:{os.environ['PATH']}",
        # There is nothing to run a control plane of its own with.
        "XDG_CACHE_HOME": str(tmp_path),
    }
    said = _pytest(environment, "--kube-context=the-one", CONTRACT, SERVICE)
    assert "2 passed, 1 skipped" in said
    assert "this needs a control plane of the tests' own" in said
    assert "1 tests passed on a real kube-apiserver" in said
    made = [r for r in plane.audited(since) if r["objectRef"].get("name") == "beats"]
    assert made, "it ran on another one"


def test_the_tests_run_with_the_programs_of_a_folder(tmp_path: Path, plane: ControlPlane) -> None:
    built = Path(plane.connection.kubectl).parent
    for program in PROGRAMS:
        (tmp_path / program).symlink_to(built / program)
    own = {"KUBEBUILDER_ASSETS": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert "1 tests passed on a real kube-apiserver" in _pytest(own, f"{CONTRACT}[kubernetes]")


def test_without_the_programs_the_tests_say_how_to_build_them_and_fail_in_ci(
    tmp_path: Path,
) -> None:
    nowhere = {"XDG_CACHE_HOME": str(tmp_path)}
    said = _pytest(nowhere, CONTRACT)
    assert "1 passed, 1 skipped" in said
    assert "the control plane is not built: make control-plane" in said
    assert "kube-apiserver" not in said
    said = _pytest(nowhere | {"CI": "true"}, CONTRACT, fails=True)
    assert "the control plane is not built: make control-plane" in said


def test_a_second_control_plane_runs_beside_the_first_and_ends_to_its_last_process(
    tmp_path: Path, plane: ControlPlane
) -> None:
    folder = programs()
    assert folder is not None
    with control_plane(folder, tmp_path) as second:
        assert second.url != plane.url
        assert [name for name, _ in second._running] == list(PROGRAMS[:3])
        processes = [process for _, process in second._running]
        # An API server whose etcd has gone does not end when it is asked to.
        os.kill(processes[0].pid, signal.SIGKILL)
    assert all(process.poll() is not None for process in processes)
    assert second._running == []


@pytest.mark.parametrize("written", [None, "", "-----BEGIN CERTIFICATE-----\nMIIDrTCCAp"])
def test_a_certificate_that_is_being_written_means_not_ready_yet(
    tmp_path: Path, plane: ControlPlane, written: str | None
) -> None:
    starting = ControlPlane(Path(plane.connection.kubectl).parent, tmp_path)
    (tmp_path / "certificates").mkdir()
    if written is not None:
        (tmp_path / "certificates" / "apiserver.crt").write_text(written)
    assert not starting._answers(f"{plane.url}/readyz", authority=True)
