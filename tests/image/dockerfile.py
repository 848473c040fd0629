"""What a Dockerfile says, as far as ours goes (https://docs.docker.com/reference/dockerfile/)."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

Names: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction: its word, its flags, and the rest with its lines joined."""

    word: str
    flags: Names
    rest: str

    @property
    def exec_form(self) -> list[str] | None:
        """The arguments where they are a list in JSON: then no shell reads them."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What stands from one FROM to the next."""

    base: str
    name: str
    instructions: tuple[Instruction, ...] = field(default=())

    def of(self, word: str) -> list[Instruction]:
        return [one for one in self.instructions if one.word == word]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """The stages, and the defaults of the arguments above the first one."""

    arguments: Names
    stages: tuple[Stage, ...]


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile; a base that is an argument is replaced by its default."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        one = _instruction(line)
        if one.word == "FROM":
            base, _, name = substituted(one.rest, arguments).partition(" AS ")
            stages.append(Stage(base=base, name=name))
        elif stages:
            stages[-1] = replace(stages[-1], instructions=(*stages[-1].instructions, one))
        else:
            arguments |= assignments(one.rest)
    return Dockerfile(arguments=arguments, stages=tuple(stages))


def substituted(text: str, names: Names) -> str:
    """Put the values of $NAME and ${NAME}; a name without a value is an error of the file."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: names[match[1]], text)


def assignments(rest: str) -> dict[str, str]:
    """Return the NAME=value pairs of an ARG, ENV or LABEL."""
    return dict(pair.split("=", 1) for pair in shlex.split(rest))


def _instruction(line: str) -> Instruction:
    word, _, rest = line.partition(" ")
    flags: dict[str, str] = {}
    while match := re.match(r"\s*--([\w-]+)=(\S+)\s+", rest):
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    return Instruction(word=word, flags=flags, rest=rest.strip())
