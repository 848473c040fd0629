"""What the runtime lock names."""

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.image.building import ROOT


def locked(*, everywhere: bool = False) -> dict[str, str]:
    """Return the locked packages with their versions: those for this machine, or all."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    wanted = [
        Requirement(line.removesuffix("\\"))
        for line in text.splitlines()
        if re.match(r"[a-z0-9]", line)
    ]
    return {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in wanted
        if everywhere or one.marker is None or one.marker.evaluate()
    }
