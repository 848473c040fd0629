"""A base image made of this machine, for where no registry can be reached.

It has what the Dockerfile uses of the real one: this interpreter at /usr/local with its standard
library (uncompiled, as in the real one), a shell for the build, the C library, certificates.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZipFile

SHELL = Path("/bin/sh")
# What wheels expect of any machine (https://peps.python.org/pep-0599/#the-manylinux2014-policy),
# beside what the interpreter itself links to.
EXPECTED = re.compile(
    r"lib(c|m|dl|rt|util|resolv|pthread|nss_dns|nss_files|gcc_s|stdc\+\+)\.so\.\d+$"
)
# How pip reaches its index here, and what name resolution needs.
SETTINGS = tuple(
    map(
        Path,
        (
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pip.conf",
            "/etc/resolv.conf",
            "/etc/hosts",
            "/etc/nsswitch.conf",
        ),
    )
)
LEFT_OUT = ("__pycache__", "site-packages", "test", "tests", "idle_test", "config-*", "*.a")


def make_base(folder: Path) -> None:
    """Lay the base in an empty folder, as the root of a file system."""
    interpreter = Path(sys.executable).resolve()
    version = "python{}.{}".format(*sys.version_info)
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(
        library, folder / f"usr/local/lib/{version}", ignore=shutil.ignore_patterns(*LEFT_OUT)
    )
    # The real base has pip installed; here it is the one that comes with the interpreter.
    for wheel in (library / "ensurepip/_bundled").glob("pip-*.whl"):
        with ZipFile(wheel) as archive:
            archive.extractall(folder / f"usr/local/lib/{version}/site-packages")
    programs = folder / "usr/local/bin"
    programs.mkdir()
    shutil.copy2(interpreter, programs / version)
    for name in ("python", "python3"):
        (programs / name).symlink_to(version)
    for file in {SHELL, *SETTINGS, *_libraries([interpreter, SHELL, *library.rglob("*.so")])}:
        if file.exists():
            _copy(file, folder)
    for name in ("dev/shm", "tmp"):
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o1777)
    # A builder puts the real one here; the steps alone get a file that takes what is written.
    (folder / "dev/null").touch()
    (folder / "dev/null").chmod(0o666)
    for name in ("proc", "sys", "run"):
        (folder / name).mkdir()


def _copy(file: Path, root: Path) -> None:
    target = root / file.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _libraries(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the shared libraries that these files link to, and those that wheels expect."""
    found = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False)
    linked = [Path(path) for path in re.findall(r"(/\S+) \(0x", found.stdout)]
    yield from linked
    for folder in {path.parent for path in linked if path.name.startswith("libc.so")}:
        yield from (path for path in folder.iterdir() if EXPECTED.fullmatch(path.name))
