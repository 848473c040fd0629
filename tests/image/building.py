"""The image, built: by buildah where it works, else by taking the Dockerfile's own steps.

Either way its instructions are carried out, one by one, in a file system that began as the base:
what the Dockerfile does not do is not done.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.image.base import make_base
from tests.image.dockerfile import Dockerfile, Instruction, Stage, assignments, parse, substituted

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Dockerfile"
ARGUMENTS = {"VERSION": "1.2.3", "REVISION": "0" * 40, "CREATED": "2026-01-02T03:04:05Z"}
SETTINGS = {
    "ENTRYPOINT",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "USER",
}  # of a container, not of its files
PATH = "/usr/local/bin:/usr/bin:/bin"


class CannotBuildHere(Exception):  # noqa: N818 - whose move it is: that of who set up the machine
    """This way of building does not work on this machine; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a container of the image starts."""

    user: str
    entrypoint: Sequence[str]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    health: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A built image: its files, and how it starts."""

    builder: str
    root: Path
    settings: Settings

    @property
    def owned_by_who_runs(self) -> bool:
        """Whether one user built it and runs it, so that no right of a file keeps it out."""
        return self.root.stat().st_uid != 0

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a container would: as the image's user, in its files, without more."""
        return subprocess.run(
            [*_inside(self.root, self.settings.user), *command],
            env={**self.settings.environment, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """Build the image below an empty folder, and take it away at the end."""
    make_base(folder / "base")
    try:
        with _by_buildah(folder) as image:
            yield image
    except CannotBuildHere as buildah:
        try:
            image = _by_steps(folder)
        except CannotBuildHere as steps:
            pytest.skip(f"no way to build an image here: {buildah}; {steps}")
        yield image


# --- buildah --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buildah:
    program: str
    storage: Sequence[str]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.program, *self.storage, *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"buildah {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout.strip()


@contextmanager
def _by_buildah(folder: Path) -> Iterator[Image]:
    buildah = _buildah(folder)
    try:
        buildah(
            *("build", "--quiet", "--isolation=chroot", "--format=docker", "--tag=localhost/built"),
            # In place of the pinned one: this buildah knows no stage by an argument.
            *("--from=localhost/base", "--build-arg=BASE=localhost/base"),
            *(f"--build-arg={name}={value}" for name, value in ARGUMENTS.items()),
            *(f"--file={FILE}", str(ROOT)),
        )
        container = buildah("from", "--pull-never", "localhost/built")
        said = json.loads(buildah("inspect", "--type=container", container))["Docker"]["config"]
        yield Image(
            builder="buildah",
            root=Path(buildah("mount", container)),
            settings=Settings(
                user=said["User"],
                entrypoint=said["Entrypoint"],
                environment=dict(pair.split("=", 1) for pair in said["Env"]),
                labels=said["Labels"],
                health=said["Healthcheck"]["Test"],
            ),
        )
    finally:
        buildah("rm", "--all")
        buildah("rmi", "--all", "--force")


def _buildah(folder: Path) -> _Buildah:
    """Return a buildah that has shown that it works here, with the base as localhost/base."""
    program = shutil.which("buildah")
    if os.environ.get("IMAGE_BUILDER") == "steps":
        raise CannotBuildHere("IMAGE_BUILDER=steps asks for the steps alone")
    if program is None:
        raise CannotBuildHere("buildah is not installed (Debian: buildah)")
    if os.geteuid() != 0:
        raise CannotBuildHere("buildah shows the files of an image to root alone")
    recipe = folder / "base.Dockerfile"
    recipe.write_text(
        f'FROM scratch\nCOPY . /\nENV PATH={PATH}\nRUN ["python", "-c", "import ssl"]\n',
        encoding="utf-8",
    )
    said = []
    for driver in ("overlay", "vfs"):
        store = folder / driver
        storage = (f"--root={store}", f"--runroot={store}-run", f"--storage-driver={driver}")
        buildah = _Buildah(program=program, storage=storage)
        try:
            buildah(
                *("build", "--quiet", "--isolation=chroot", "--tag=localhost/base"),
                *(f"--file={recipe}", str(folder / "base")),
            )
        except AssertionError as error:
            said.append(f"{driver}: {str(error).splitlines()[-1]}")
        else:
            return buildah
    raise CannotBuildHere(f"buildah does not work here ({'; '.join(said)})")


# --- the steps alone ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Building:
    """A stage under way."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH, "HOME": "/tmp"})  # noqa: S108 - in the image
    arguments: dict[str, str] = field(default_factory=dict)
    place: str = "/"

    def take(self, one: Instruction, roots: Mapping[str, Path]) -> None:
        """Take one step; `roots` are the files of the stages before."""
        match one.word:
            case "ARG":
                self.arguments |= assignments(one.rest) | ARGUMENTS
            case "ENV":
                self.environment |= assignments(substituted(one.rest, self.environment))
            case "WORKDIR":
                self.place = one.rest
                self.path("").mkdir()
            case "RUN":
                self.run(one.exec_form or ["/bin/sh", "-c", one.rest])
            case "COPY":
                *sources, target = one.rest.split()
                for source in sources:
                    origin = roots[one.flags["from"]] if one.flags else _context(source)
                    _copy(origin / source.lstrip("/"), self.path(target))
            case word:
                assert word in SETTINGS, f"{word} is a step that is not taken here"

    def run(self, command: Sequence[str]) -> None:
        shell = ["/bin/sh", "-c", f'cd {self.place} && exec "$@"', "sh", *command]
        done = subprocess.run(
            [*_inside(self.root, "0:0"), *shell],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"

    def path(self, path: str) -> Path:
        return self.root / os.path.normpath(Path("/", self.place, path)).lstrip("/")


def _by_steps(folder: Path) -> Image:
    if os.geteuid() != 0:
        tried = subprocess.run(
            [*_inside(folder / "base", "0:0"), "/bin/sh", "-c", ":"],
            capture_output=True,
            check=False,
        )
        if tried.returncode:
            raise CannotBuildHere(f"neither root nor user namespaces: {tried.stderr.decode()}")
    file = parse(FILE.read_text(encoding="utf-8"))
    base, *stages = file.stages
    roots = {base.name: folder / "base"}  # in place of the pinned one
    building = _Building(roots[base.name])
    for stage in stages:
        building = _Building(folder / (stage.name or "final"))
        shutil.copytree(roots[stage.base], building.root, symlinks=True)
        roots[stage.name] = building.root
        for one in stage.instructions:
            building.take(one, roots)
    return Image(builder="steps", root=building.root, settings=_settings(file, building))


def _context(source: str) -> Path:
    """Return the folder that is sent to a builder, if this is sent at all."""
    assert f"!{source}" in (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    return ROOT


def _copy(source: Path, to: Path) -> None:
    if source.is_dir():
        # What the context leaves out; what another stage has compiled stays.
        ignore = shutil.ignore_patterns("__pycache__") if source.is_relative_to(ROOT) else None
        shutil.copytree(source, to, symlinks=True, ignore=ignore, dirs_exist_ok=True)
    else:
        shutil.copy(source, to)


def _settings(file: Dockerfile, building: _Building) -> Settings:
    final = file.stages[-1]
    return Settings(
        user=_only(final, "USER"),
        entrypoint=final.of("ENTRYPOINT")[0].exec_form or [],
        environment=building.environment,
        labels=assignments(substituted(_only(final, "LABEL"), building.arguments)),
        health=["CMD", *_list(_only(final, "HEALTHCHECK").removeprefix("CMD "))],
    )


def _only(stage: Stage, word: str) -> str:
    (one,) = stage.of(word)
    return one.rest


def _list(text: str) -> list[str]:
    listed: Any = json.loads(text)
    return [str(one) for one in listed]


def _inside(root: Path, user: str) -> list[str]:
    """Return what runs a command with this folder as its root and the rights of this user."""
    uid, gid = user.split(":")
    if os.geteuid() == 0:
        chroot = shutil.which("chroot", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        return [chroot or "chroot", f"--userspec={user}", "--groups=", str(root)]
    return ["unshare", f"--map-user={uid}", f"--map-group={gid}", f"--root={root}"]
