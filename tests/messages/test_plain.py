from dataclasses import replace

import pytest

from receiver.messages import Story, email, short
from tests.messages.limits import email_faults, short_faults
from tests.messages.stories import BARE, FULL, STATES, of_state, story


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_told_in_plain_text(state: str) -> None:
    told = of_state(state)
    assert email_faults(email(told)) == []
    assert short_faults(short(told)) == []


def test_an_email_says_in_its_subject_what_a_phone_shows() -> None:
    assert email(FULL).subject == (
        "ROLLBACK FAILED: shop/checkout (eu-1) r42 → r41 (HighErrorRate 12.3%)"
    )


def test_an_email_holds_links_and_commands_as_they_are_copied() -> None:
    lines = email(FULL).text.split("\n")
    runbook = "https://wiki.example.com/runbook?alert=HighErrorRate&team=shop"
    assert f"Runbook of HighErrorRate: {runbook}" in lines
    undo = "kubectl -n shop rollout undo deployment/checkout --to-revision=42"
    assert f"Undo this: {undo}" in lines
    assert "  - api: shop/api:2@sha256:abababa → shop/api:1" in lines
    assert "  - Call CTO: cto@flexoraa.com (Escalation only)" in lines
    assert lines[-2:] == ["-- ", "inc-0123456789ab · rolled_back · 2026-11-23 03:14:03 UTC"]


def test_a_subject_is_one_header_whatever_it_says() -> None:
    told = story(cluster="x\r\nBcc: all@example.com", deployment="a\nb")
    assert email(told).subject.startswith("ROLLBACK FAILED: shop/a b (x Bcc: all@example.com)")
    assert email_faults(email(told)) == []


@pytest.mark.parametrize("told", [BARE, replace(BARE, state="half_done")])
def test_what_is_not_known_is_left_out(told: Story) -> None:
    for said in (email(told).text, short(told).body):
        assert "None" not in said
        assert "Where" not in said
        assert "kubectl" not in said


def test_the_short_form_leaves_out_what_does_not_fit_and_keeps_what_comes_first() -> None:
    told = replace(FULL, why="w" * 300, actor="ann", detail="d" * 300, alerts=FULL.alerts * 9)
    said = short(told)
    assert short_faults(said) == []
    assert said.title.startswith("ROLLBACK FAILED: shop/checkout")
    assert said.body.startswith("Now: The earlier revision did not become ready.\nTo do: ")
    assert "Not reverted: " in said.body
    assert "Silence" not in said.body
