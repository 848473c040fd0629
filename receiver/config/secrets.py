"""The values of all secrets that a configuration names: for the log, to take them out of it."""

import os
from collections.abc import Iterator
from pathlib import Path

from receiver.config.settings import Settings

# A secret that was rotated away is still one for a while.
KEPT = 4


class Secrets:
    """Knows what is secret right now, and what was until a while ago. Its repr shows nothing."""

    def __init__(self, settings: Settings) -> None:
        self._files = tuple(dict.fromkeys(_files(settings)))
        self._variables = tuple(dict.fromkeys(_variables(settings)))
        self._seen: dict[str, tuple[tuple[int, int, int], tuple[str, ...]]] = {}

    def __call__(self) -> tuple[str, ...]:
        """Return the values; a file is read again when it has changed. Never raises."""
        of_files = (value for file in self._files for value in self._of(file))
        of_variables = (
            value.strip()
            for name in self._variables
            for value in os.environ.get(name, "").splitlines()
        )
        return tuple(value for value in (*of_files, *of_variables) if value)

    def _of(self, file: str) -> tuple[str, ...]:
        stamp, values = self._seen.get(file, ((0, 0, 0), ()))
        try:
            status = Path(file).stat()
            now = (status.st_mtime_ns, status.st_size, status.st_ino)
            if now != stamp:
                # Several lines are several secrets: they sign one beside the other.
                new = tuple(map(str.strip, Path(file).read_text(encoding="utf-8").splitlines()))
                values = (*new, *(each for each in values if each not in new))[: KEPT * len(new)]
                self._seen[file] = (now, values)
        except (OSError, UnicodeDecodeError):
            pass  # what is not there any more stays secret
        return values


def _files(settings: Settings) -> Iterator[str]:
    auth = settings.auth
    yield from (token.file for token in auth.webhook.bearer_tokens)
    yield from (token.file for token in auth.people.tokens)
    if auth.webhook.basic is not None:
        yield auth.webhook.basic.password_file
    if settings.prometheus.token_file:
        yield settings.prometheus.token_file
    yield from _named(settings, "_file")


def _variables(settings: Settings) -> Iterator[str]:
    yield from _named(settings, "_env")


def _named(settings: Settings, ending: str) -> Iterator[str]:
    """Yield what the sinks say in settings of such an ending: all their secrets are there."""
    for sink in settings.notify.sinks.values():
        for name in type(sink).model_fields:
            if name.endswith(ending) and (value := getattr(sink, name)):
                yield value
