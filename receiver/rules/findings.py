"""What a linter finds: each thing with its name, place, sentence, and where to read more."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from receiver.document import Path

Severity: TypeAlias = Literal["error", "warning"]
# Below what the check looks at, and what is wrong there.
Said: TypeAlias = tuple[Path, str]
Looked = TypeVar("Looked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[Looked]):
    """One thing to look for. `error`: a rollback would go wrong or fail to come."""

    id: str
    severity: Severity
    meaning: str
    link: str
    look: Callable[[Looked], Iterator[Said]]


Row: TypeAlias = tuple[str, Severity, str, Callable[[Looked], Iterator[Said]]]


def table(*rows: Row[Looked]) -> tuple[Check[Looked], ...]:
    """Return checks of (id, severity, link, what looks), whose docstring says what for."""

    def meaning(look: Callable[[Looked], Iterator[Said]]) -> str:
        return (look.__doc__ or "").strip().removeprefix("Find ").removesuffix(".")

    return tuple(
        Check(id=id_, severity=severity, meaning=meaning(look), link=link, look=look)
        for id_, severity, link, look in rows
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found. `about`: the alert, record, route or receiver."""

    check: str
    severity: Severity
    file: str
    line: int | None
    about: str
    text: str
    link: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        about = f"{self.about}: " if self.about else ""
        return f"{place}: {self.severity}: {about}{self.text} [{self.check}]\n    {self.link}"
