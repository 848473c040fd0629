"""Who hears of what: the routes, and which sink has something to say."""

from dataclasses import replace
from pathlib import Path

import pytest

from receiver.controller.ports import NOTHING_HEARD, Heard
from receiver.notify import Sinks, Transport
from receiver.reasons import Severity
from tests.messages.stories import story
from tests.notify.sites import post
from tests.virtual import START, LoopClock, virtual


@virtual
async def test_a_severity_without_a_route_goes_the_default_way(tmp_path: Path) -> None:
    async with post(tmp_path, "http://127.0.0.1:1") as mail:
        assert mail.sinks.routes("critical") == ("chat", "pager")
        assert mail.sinks.routes("warning") == ("chat",)
        assert mail.sinks.routes("page me") == ("chat",)
        nobody = Sinks({}, {}, LoopClock(), transport=Transport(LoopClock()))
        assert nobody.routes("critical") == ()


CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
SPEAKS = [
    # state, severity, told before -> does Slack speak, does the pager
    ("settling", CRITICAL, None, False, False),
    ("applying", CRITICAL, None, False, False),
    ("following", CRITICAL, None, True, True),
    ("following", CRITICAL, "following", False, False),
    ("following", WARNING, None, True, True),
    ("following", INFO, None, True, False),
    ("verifying", CRITICAL, "following", True, True),
    ("verifying", CRITICAL, "verifying", False, False),
    ("recovered", CRITICAL, "verifying", True, True),
    ("recovered", CRITICAL, None, True, False),
    ("recovered", INFO, "following", True, True),
    ("recovered", CRITICAL, "recovered", True, False),
    ("resolved_by_itself", CRITICAL, None, True, False),
    ("resolved_by_itself", CRITICAL, "following", True, True),
    ("unconfirmed", CRITICAL, None, True, True),
    ("did_not_help", CRITICAL, "verifying", True, True),
    ("rollout_failed", CRITICAL, "following", True, True),
    ("refused", CRITICAL, None, True, True),
    ("refused", CRITICAL, "refused", True, True),
    ("refused", WARNING, None, True, True),
    ("refused", INFO, None, True, False),
    ("superseded", CRITICAL, "following", True, True),
    ("gone", CRITICAL, "following", True, True),
    ("firing", CRITICAL, None, True, True),
    ("firing", CRITICAL, "firing", False, False),
    ("firing", CRITICAL, "resolved", True, True),
    ("firing", INFO, None, True, False),
    ("resolved", CRITICAL, "firing", True, True),
    ("resolved", CRITICAL, None, True, False),
    ("failing", CRITICAL, None, True, True),
    ("shadow", CRITICAL, None, True, False),
    ("shadow", INFO, None, True, False),
]


@pytest.mark.parametrize(("state", "severity", "told", "chat", "pager"), SPEAKS)
@virtual
async def test_each_sink_speaks_of_what_it_has_to_say(
    state: str, severity: Severity, told: str | None, *, chat: bool, pager: bool, tmp_path: Path
) -> None:
    async with post(tmp_path, "http://127.0.0.1:1") as mail:
        now = story(state=state, severity=severity)
        heard = Heard(state=told or "")
        assert mail.sinks.speaks_of("chat", now, heard) is chat
        assert mail.sinks.speaks_of("pager", now, heard) is pager


@virtual
async def test_a_page_of_unknown_fate_is_resolved_although_it_was_never_taken(
    tmp_path: Path,
) -> None:
    async with post(tmp_path, "http://127.0.0.1:1") as mail:
        well, lost = story(state="recovered"), Heard(doubt=START)
        assert not mail.sinks.speaks_of("pager", well, NOTHING_HEARD)
        assert mail.sinks.speaks_of("pager", well, lost)
        # It may have been opened again after it was closed.
        assert not mail.sinks.speaks_of("pager", well, Heard(state="recovered"))
        assert mail.sinks.speaks_of("pager", well, Heard(state="recovered", doubt=START))


@virtual
async def test_who_wakes_people_is_known(tmp_path: Path) -> None:
    async with post(tmp_path, "http://127.0.0.1:1") as mail:
        assert mail.sinks.names() == ("chat", "pager")
        assert [mail.sinks.pages(name) for name in ("chat", "pager", "nobody")] == [
            False,
            True,
            False,
        ]
        assert mail.sinks.fallbacks() == ("chat",)


@virtual
async def test_what_another_should_have_heard_is_told_although_it_was_told_before(
    tmp_path: Path,
) -> None:
    async with post(tmp_path, "http://127.0.0.1:1") as mail:
        now, heard = story(state="firing"), Heard(state="firing")
        assert not mail.sinks.speaks_of("chat", now, heard)
        assert mail.sinks.speaks_of("chat", replace(now, instead_of=("pager",)), heard)
