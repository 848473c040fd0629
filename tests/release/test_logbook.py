from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from receiver import release as rl
from receiver.decisions import Decision
from receiver.journal import Approval, Release, Step
from receiver.reasons import Reason
from tests.builders import T0
from tests.release.worlds import OK, Pair, at_step

HEADINGS = [
    *("Deployed By:", "Deploy Time:", "Stage:", "Health Checks:", "Issues:", "Rollback:", "Notes:"),
]
_EVIL = st.text(st.sampled_from("#*-+_`<>[]()!|~&$=\\ \n\r\t1.:/@w\u2028\u202ea"), max_size=30)
_GIVEN = ["# h", "\n\n# h", "1. x", "<b>x</b>", "[x](http://e)", "![x](y)", "`x`", "&lt;", "a\\"]
_GIVEN += ["http://e.example", "www.e.example", "* x", "---", "~~x~~", "| a | b |", "12. x"]


def test_the_log_has_the_headings_of_the_plan() -> None:
    text = rl.log(at_step("soaking").release, "shop", "checkout", T0)
    assert text.startswith("# Deployment: registry.example/checkout:v2 \\- 2026"[:25])
    found = [text.index(f"**{heading}**") for heading in HEADINGS]
    assert found == sorted(found)
    assert "**Rollback:** No\n" in text
    assert "**Issues:** None\n" in text


def test_the_log_of_what_was_aborted_says_why() -> None:
    pair = at_step("soaking")
    pair.look(asking=("Errors",))
    assert "**Rollback:** Yes - " in rl.log(pair.release, "shop", "checkout", T0)


@given(_EVIL | st.sampled_from(_GIVEN))
def test_text_of_others_is_inert_in_the_log(evil: str) -> None:
    release = replace(
        Pair().release,
        version=f"v{evil}",
        by=f"b{evil}",
        images=((evil, evil),),
        trouble=f"t{evil}",
        measures=(replace(OK, name=evil, text=evil),),
        approvals=(Approval(stage=1, role=evil, by=evil, at=T0, why=evil),),
    ).said(evil, T0)
    plain = replace(
        release,
        version="v",
        by="b",
        images=(("x", "x"),),
        trouble="t",
        measures=(replace(OK, name="x", text="x"),),
        approvals=(Approval(stage=1, role="x", by="x", at=T0, why="x"),),
        happened=(*release.happened[:-1], replace(release.happened[-1], text="x")),
    )
    assert _shape(release) == _shape(plain)


def _shape(release: Release) -> list[str]:
    text = rl.log(release, "shop", "checkout", T0)
    kinds = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        inner = [c.type for c in token.children or () if c.type not in ("text", "text_special")]
        kinds.append(f"{token.type} {inner}")
    return kinds


@pytest.mark.parametrize(
    ("step", "state", "reason"),
    [
        ("preparing", "release_prepared", Reason.RELEASING),
        ("soaking", "release_stage", Reason.RELEASING),
        ("waiting", "release_waiting", Reason.AWAITING_APPROVAL),
        ("promoting", "release_promoting", Reason.RELEASING),
        ("watching", "release_promoted", Reason.RELEASING),
        ("completed", "release_completed", Reason.RELEASING),
    ],
)
def test_each_step_has_its_news(step: str, state: str, reason: Reason) -> None:
    found = rl.news(at_step(step).release)
    assert found[:2] == (state, reason)


def test_a_hold_an_abort_and_trouble_are_news_of_their_own() -> None:
    pair = at_step("soaking")
    held = rl.hold(pair.release, "ann", "lunch", T0)
    assert not isinstance(held, Decision)
    assert rl.news(held)[0] == "release_held"
    assert rl.news(held)[3].endswith("ann paused it: lunch")
    troubled = replace(pair.release, told=Reason.RELEASE_BLIND, trouble="no data")
    assert rl.news(troubled)[:2] == ("release_troubled", Reason.RELEASE_BLIND)
    aborting = rl.abort(held, Reason.CANARY_NOT_READY, "late", T0)
    assert rl.news(aborting)[:2] == ("release_aborting", Reason.CANARY_NOT_READY)
    assert rl.news(rl.aborted(aborting, T0))[0] == "release_aborted"
    assert rl.aborted(aborting, T0).step is Step.ABORTED
