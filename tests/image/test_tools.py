"""What the tools of the field say of the Dockerfile, the workflows, the code, and what is shipped.

Each tool is also shown something bad: one that finds nothing anywhere proves nothing.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.image.building import FILE, ROOT
from tests.image.lock import locked

pytestmark = pytest.mark.image

WORKFLOWS = ROOT / ".github/workflows"
BAD_DOCKERFILE = "FROM python:latest\nRUN pip install aiohttp\nCMD python app.py\n"
BAD_WORKFLOW = """
on: pull_request_target
jobs:
  test:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v5
      - run: echo ${{ github.event.pull_request.title }}
"""
BAD_CODE = "import pickle\n\n\ndef read(raw: bytes) -> object:\n    return pickle.loads(raw)\n"


def said(
    *command: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def tool(name: str) -> str:
    """Return a program that the development lock brings."""
    return str(Path(sys.executable).with_name(name))


def test_hadolint_has_nothing_to_say_of_the_dockerfile(tmp_path: Path) -> None:
    answer = said(tool("hadolint"), str(FILE))
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr
    bad = tmp_path / "Dockerfile"
    bad.write_text(BAD_DOCKERFILE, encoding="utf-8")
    answer = said(tool("hadolint"), "--no-color", str(bad))
    assert answer.returncode == 1
    assert {"DL3007", "DL3013", "DL3025"} <= set(re.findall(r"DL\d+", answer.stdout))


def test_zizmor_has_nothing_to_say_of_what_github_runs(tmp_path: Path) -> None:
    zizmor = (tool("zizmor"), "--offline", "--no-progress", "--persona=pedantic")
    answer = said(*zizmor, str(ROOT / ".github"))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    bad = tmp_path / "bad.yml"
    bad.write_text(BAD_WORKFLOW, encoding="utf-8")
    answer = said(*zizmor, "--format=json", str(bad))
    assert {"template-injection", "unpinned-uses", "dangerous-triggers"} <= {
        one["ident"] for one in json.loads(answer.stdout)
    }


def test_actionlint_has_nothing_to_say_of_the_workflows(tmp_path: Path) -> None:
    actionlint = said(".ci/actionlint", "--where").stdout.strip()
    if not Path(actionlint).exists():
        told = "actionlint is not built: make actionlint"
        # In CI its absence is a failure: there it is built first.
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    shipped = sorted(map(str, WORKFLOWS.iterdir()))
    answer = said(actionlint, "-no-color", *shipped)
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr
    bad = tmp_path / "bad.yml"
    bad.write_text(BAD_WORKFLOW, encoding="utf-8")
    answer = said(actionlint, "-no-color", str(bad))
    assert answer.returncode == 1
    assert '"github.event.pull_request.title" is potentially untrusted' in answer.stdout


@pytest.mark.parametrize("path", sorted(WORKFLOWS.iterdir()), ids=lambda path: path.stem)
def test_a_workflow_pins_what_it_uses_and_may_do_nothing_by_default(path: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]["contents"] == "read"
        assert job["timeout-minutes"] <= 45
        for step in job["steps"]:
            assert re.fullmatch(
                r"actions/[\w-]+@[0-9a-f]{40}", step.get("uses", "actions/x@" + "0" * 40)
            )


def test_bandit_has_nothing_to_say_of_the_code(tmp_path: Path) -> None:
    bandit = (tool("bandit"), "--quiet", "--configfile=pyproject.toml", "--recursive")
    answer = said(*bandit, "receiver")
    assert answer.returncode == 0, answer.stdout
    (tmp_path / "bad.py").write_text(BAD_CODE, encoding="utf-8")
    answer = said(*bandit, str(tmp_path))
    assert answer.returncode == 1
    assert "B301" in answer.stdout


def test_make_sbom_lists_exactly_what_the_image_is_locked_to(tmp_path: Path) -> None:
    written = tmp_path / "sbom.json"
    # -o: the environment of this very test is the one that setup would make.
    answer = said(
        *("make", "--no-print-directory", "-o", "setup", "sbom"),
        *(f"SBOM={written}", f"BIN={Path(sys.executable).parent}"),
        environment={"MAKEFLAGS": ""},
    )
    assert answer.returncode == 0, answer.stderr
    sbom = json.loads(written.read_text(encoding="utf-8"))
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "rollback-receiver",
    )
    listed = {one["name"]: one["version"] for one in sbom["components"]}
    assert listed == locked(everywhere=True)
    assert {one["purl"] for one in sbom["components"]} == {
        f"pkg:pypi/{name}@{version}" for name, version in listed.items()
    }
    assert all(
        reference["hashes"] for one in sbom["components"] for reference in one["externalReferences"]
    )


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """Return .ci/audit, a script without the ending of one."""
    loader = SourceFileLoader("audit", str(ROOT / ".ci/audit"))
    spec = spec_from_loader("audit", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


GOOD = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
BAD = {
    "name": "idna",
    "version": "3.6",
    "vulns": [{"id": "PYSEC-2024-60", "fix_versions": ["3.7"]}],
}
UNKNOWN = {"name": "yarl", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("told", "required", "code", "line"),
    [
        ([GOOD], True, 0, "1 of 1 packages audited, 0 vulnerabilities"),
        ([GOOD, BAD], False, 1, "idna 3.6: PYSEC-2024-60, fixed in 3.7"),
        ([GOOD, UNKNOWN], False, 1, "yarl: not known to the advisory service"),
        ([UNKNOWN], False, 0, "Not audited"),
        ([UNKNOWN], True, 1, "Not audited"),
    ],
    ids=["clean", "vulnerable", "one unknown", "no answer", "no answer though required"],
)
def test_an_audit_of_nothing_is_never_taken_for_a_clean_one(
    audit: ModuleType,
    capsys: pytest.CaptureFixture[str],
    told: list[dict[str, Any]],
    required: bool,
    code: int,
    line: str,
) -> None:
    assert audit.verdict(told, required=required) == code
    assert line in capsys.readouterr().out
