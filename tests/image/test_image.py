"""The image does what the Dockerfile promises: built here, by its own steps, and run."""

import importlib.util
import json
import re
import resource
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from receiver import __version__
from tests.image.building import ARGUMENTS, FILE, ROOT, Image, built
from tests.image.dockerfile import parse
from tests.image.lock import locked

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]

ENVIRONMENT = "opt/rollback-receiver"
SECRETS = "etc/rollback-receiver/secrets"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    with built(tmp_path_factory.mktemp("image")) as image:
        yield image


def test_it_starts_as_the_numbered_user_and_says_its_version(image: Image) -> None:
    who = image.run("python", "-c", "import os; print(os.getuid(), os.getgid(), os.getgroups())")
    assert who.stdout.startswith("65532 65532 "), who.stderr
    assert " 0" not in who.stdout
    assert image.settings.user == "65532:65532"
    said = image.run(image.settings.entrypoint[0], "--version")
    assert (said.returncode, said.stdout) == (0, f"rollback-receiver {__version__}\n"), said.stderr


def test_it_checks_the_shipped_configuration_where_its_entrypoint_reads_it(image: Image) -> None:
    program, serve, *options = image.settings.entrypoint
    assert serve == "serve"
    config = image.root / options[-1].lstrip("/")
    (image.root / SECRETS).mkdir(parents=True)
    config.write_bytes((ROOT / "k8s/overlays/dev/receiver.yaml").read_bytes())
    (image.root / SECRETS / "webhook-token").write_text("0123456789" * 5, encoding="utf-8")
    said = image.run(program, "check", *options)
    assert said.returncode == 2
    assert "notify.sinks.deployments.url_file (line " in said.stderr
    assert ": there is no such file" in said.stderr
    (image.root / SECRETS / "slack-deployments").write_text(
        "https://hooks.slack.com/services/T/B/x", encoding="utf-8"
    )
    said = image.run(program, "check", *options)
    assert said.returncode == 0, said.stdout + said.stderr


def test_nothing_in_it_can_be_written_by_the_one_who_runs_it(image: Image) -> None:
    walk = (
        "import os\n"
        "for at in ('/opt', '/usr', '/etc'):\n"
        "    for folder, _, files in os.walk(at):\n"
        "        for path in (folder, *(os.path.join(folder, name) for name in files)):\n"
        "            if not os.path.islink(path) and os.access(path, os.W_OK): print(path)\n"
    )
    said = image.run("python", "-c", walk)
    assert (said.returncode, said.stderr) == (0, "")
    if image.owned_by_who_runs:
        pytest.skip("built by another than root: the files are of the one who runs it")
    assert said.stdout == ""


@pytest.mark.parametrize("library", [ENVIRONMENT, "usr/local/lib"])
def test_all_code_is_compiled_and_never_checked_against_its_source(
    image: Image, library: str
) -> None:
    modules = [
        path
        for path in (image.root / library).rglob("*.py")
        if library == ENVIRONMENT or path.parent.name in {"asyncio", "http", "json", "logging"}
    ]
    assert len(modules) > 20
    for module in modules:
        compiled = Path(importlib.util.cache_from_source(str(module)))
        # https://peps.python.org/pep-0552/: the lowest bit says hash, the next one says check
        assert compiled.read_bytes()[4:8] == b"\1\0\0\0", module


def test_the_compiled_code_is_what_runs(image: Image) -> None:
    said = image.run("python", "-v", "-c", "import receiver.app")
    assert said.returncode == 0, said.stderr
    loaded = re.findall(r"code object from '?([^'\n]+)", said.stderr)
    assert sum(path.startswith(f"/{ENVIRONMENT}/") for path in loaded) > 300
    assert [path for path in loaded if path.endswith(".py")] == []


def test_a_start_costs_less_than_without_the_compiled_code(image: Image) -> None:
    compiled = _seconds(image, {})
    anew = _seconds(image, {"PYTHONPYCACHEPREFIX": "/nowhere"})
    print(f"a start by {image.builder}: {compiled:.2f} s of CPU, {anew:.2f} s uncompiled")  # noqa: T201 - the figure is for people
    assert compiled < 0.8 * anew


def test_it_holds_the_locked_packages_and_the_service_and_nothing_else(image: Image) -> None:
    lister = (
        "import importlib.metadata as m, json\n"
        "print(json.dumps({d.name: d.version for d in m.distributions()}))"
    )
    said = image.run("python", "-c", lister)
    installed = {
        canonicalize_name(name): version for name, version in json.loads(said.stdout).items()
    }
    assert installed == locked() | {"rollback-receiver": __version__}
    outside = {path.name for path in (image.root / "opt").iterdir()} | {
        path.name for path in image.root.glob("src/*")
    }
    assert outside == {"rollback-receiver"}


def test_its_labels_say_where_it_comes_from(image: Image) -> None:
    named = {
        key.removeprefix("org.opencontainers.image."): v for key, v in image.settings.labels.items()
    }
    assert named["version"] == ARGUMENTS["VERSION"]
    assert named["revision"] == ARGUMENTS["REVISION"]
    assert named["created"] == ARGUMENTS["CREATED"]
    assert named["title"] == "rollback-receiver"
    assert named["licenses"] == "Apache-2.0"


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_its_health_check_passes_on_what_the_service_answers(
    image: Image, status: int, healthy: bool
) -> None:
    kind, *command = image.settings.health
    assert kind == "CMD"  # not CMD-SHELL
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = [word.replace(":8080/", f":{server.server_port}/") for word in command]
        assert here != command
        said = image.run(*here)
        server.shutdown()
    assert asked == ["/health"]
    assert (said.returncode == 0) == healthy, said.stderr


def test_its_health_check_fails_where_nobody_listens(image: Image) -> None:
    here = [word.replace(":8080/", ":1/") for word in image.settings.health[1:]]
    assert image.run(*here).returncode == 1


def test_no_shell_reads_what_the_running_image_does() -> None:
    final = parse(FILE.read_text(encoding="utf-8")).stages[-1]
    assert final.of("RUN") == []
    assert all(one.exec_form for one in final.of("ENTRYPOINT"))
    assert all(one.rest.startswith("CMD [") for one in final.of("HEALTHCHECK"))


def test_the_base_is_named_by_its_digest() -> None:
    file = parse(FILE.read_text(encoding="utf-8"))
    pinned, compiled, *others = file.stages
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim@sha256:[0-9a-f]{64}", pinned.base)
    assert compiled.base == pinned.name
    assert {stage.base for stage in others} == {compiled.name}


def _seconds(image: Image, environment: dict[str, str]) -> float:
    """Return the processor time of one start: what else the machine does is not in it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = image.run("rollback-receiver", "--version", environment=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert said.returncode == 0, said.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
