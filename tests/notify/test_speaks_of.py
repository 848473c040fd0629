"""Who hears of what: the routes, and which sink has something to say."""

from dataclasses import replace
from pathlib import Path

import pytest

from receiver.controller.ports import NOTHING_HEARD, Delivery, Heard
from receiver.notify import Sinks
from receiver.reasons import Severity
from tests.messages.stories import story
from tests.notify.sites import TAKEN, Site, post, until_taken
from tests.virtual import LoopClock, virtual


@virtual
async def test_a_severity_without_a_route_goes_the_default_way(tmp_path: Path) -> None:
    async with post(tmp_path, "http://127.0.0.1:1") as mail:
        assert mail.sinks.routes("critical") == ("chat", "pager")
        assert mail.sinks.routes("warning") == ("chat",)
        assert mail.sinks.routes("page me") == ("chat",)
        nobody = Sinks({}, {}, LoopClock())
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
    async with Site(usual=(500, "")).serve() as site, post(tmp_path, site.url) as mail:
        failed, well = story(state="following"), story(state="recovered")
        assert not mail.sinks.speaks_of("pager", well, NOTHING_HEARD)
        assert (await mail.sinks.deliver("pager", failed)).delivery is Delivery.AMBIGUOUS
        assert mail.sinks.speaks_of("pager", well, NOTHING_HEARD)
        assert not mail.sinks.speaks_of("pager", replace(well, subject="another"), NOTHING_HEARD)
        site.usual = TAKEN
        await mail.sinks.deliver("pager", well)
        assert not mail.sinks.speaks_of("pager", well, NOTHING_HEARD)
    assert [body["event_action"] for body in site.bodies] == ["trigger", "resolve"]


@virtual
async def test_only_so_many_pages_of_unknown_fate_are_remembered(tmp_path: Path) -> None:
    async with Site(usual=(500, "")).serve() as site, post(tmp_path, site.url) as mail:
        for number in range(1001):
            await until_taken(mail, "pager", story(subject=f"inc-{number}"))
        well = story(state="recovered")
        first, second, last = (replace(well, subject=f"inc-{n}") for n in (0, 1, 1000))
        assert not mail.sinks.speaks_of("pager", first, NOTHING_HEARD)
        assert mail.sinks.speaks_of("pager", second, NOTHING_HEARD)
        assert mail.sinks.speaks_of("pager", last, NOTHING_HEARD)
