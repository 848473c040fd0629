"""Matchers, and which alerts ask for a rollback."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.alerts import Alert, Matcher, asks, fits, matcher, matchers


def alert(**labels: str) -> Alert:
    return Alert(
        status="firing",
        fingerprint="0" * 16,
        labels=labels,
        annotations={},
        starts_at=datetime(2026, 11, 23, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("text", "label", "operator", "value"),
    [
        ('team="shop"', "team", "=", "shop"),
        ("team=shop", "team", "=", "shop"),
        ('team!="shop"', "team", "!=", "shop"),
        ('team=~"a|b"', "team", "=~", "a|b"),
        ("team!~a|b", "team", "!~", "a|b"),
        (' \tteam \n= "shop" ', "team", "=", "shop"),
        ("team =~ a.*", "team", "=~", "a.*"),
        ("team=two words", "team", "=", "two words"),
        ("team=", "team", "=", ""),
        ('team=""', "team", "=", ""),
        ("team==x", "team", "=", "=x"),
        ("job:ratio=x", "job:ratio", "=", "x"),
        ('"k8s.io/name"="x"', "k8s.io/name", "=", "x"),
        ('"größe"=~"x.*"', "größe", "=~", "x.*"),
        ('a="größe→✓"', "a", "=", "größe→✓"),
        ('a="x,y{}"', "a", "=", "x,y{}"),
        (r'a="say \"hi\""', "a", "=", 'say "hi"'),
        (r"a=say \"hi\"", "a", "=", 'say "hi"'),
        (r'a="one\ntwo"', "a", "=", "one\ntwo"),
        ('a="one\ntwo"', "a", "=", "one\ntwo"),
        (r'a="back\\slash"', "a", "=", "back\\slash"),
        (r'a="\\n"', "a", "=", r"\n"),
        (r'a=~"\d+\.\d+"', "a", "=~", r"\d+\.\d+"),
        (r"a=~\d+", "a", "=~", r"\d+"),
        ("a=C:\\", "a", "=", "C:\\"),
        ('a="one\\\ntwo"', "a", "=", "one\\\ntwo"),
    ],
)
def test_a_matcher_is_read_as_alertmanager_reads_it(
    text: str, label: str, operator: str, value: str
) -> None:
    read = matcher(text)
    assert (read.label, read.operator, read.value) == (label, operator, value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "team",
        "=shop",
        '""="shop"',
        "1team=shop",
        "te-am=shop",
        "größe=1",
        "team>shop",
        "team~shop",
        'team="shop',
        'team=shop"',
        'team="shop"x',
        'team="shop\\"',
        r'team=shop\\"',
        'team="sh"op"',
        "team=shop,severity=page",
        'team="shop",severity="page"',
        '{team="shop"}',
        "team={shop}",
    ],
)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a matcher"):
        matcher(text)


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "*",
        "a{2,1}",
        "[z-a]",
        r"\\pL+",
        r"\\Qa.b\\E",
        "a(?i)b",
        "(?<name>x)",
        "[[:alpha:]]+",
        "(?u)x",
        "(" * 5_000 + ")" * 5_000,
        "a{99999999999}",
    ],
)
@pytest.mark.parametrize("operator", ["=~", "!~"])
def test_a_pattern_that_python_cannot_read_or_reads_otherwise_is_refused(
    pattern: str, operator: str
) -> None:
    with pytest.raises(ValueError, match="not a pattern") as caught:
        matcher(f'team{operator}"{pattern}"')
    assert len(str(caught.value)) < 250
    assert matcher(f'team="{pattern}"').operator == "="  # as plain text it is fine


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", []),
        (" {} ", []),
        ("a=b", ["a=b"]),
        ("{a=b}", ["a=b"]),
        ('{a="b",}', ["a=b"]),
        ("a=b, c!=d ,", ["a=b", "c!=d"]),
        ('{a="b,c", d=~"x{2}|}"}', ["a=b,c", "d=~x{2}|}"]),
        (r'a="say \"x, y\"",b=c', ['a=say "x, y"', "b=c"]),
        (r'a="\\",b=c', ["a=\\", "b=c"]),
        ('a="one\\\n,two",b=c', ["a=one\\\n,two", "b=c"]),
        ('"x,y"=z,a=b', ["x,y=z", "a=b"]),
    ],
)
def test_commas_outside_quotes_separate_matchers(text: str, read: list[str]) -> None:
    assert [f"{m.label}{m.operator}{m.value}" for m in matchers(text)] == read


@pytest.mark.parametrize("text", ["a", ",", "a=b,,c=d", ",a=b", 'a="b,c=d', "{{a=b}}", "a=b,;c"])
def test_a_list_with_anything_else_in_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a matcher"):
        matchers(text)


LABELS = {"team": "shop", "severity": "critical", "lines": "one\ntwo", "number": "٣"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team=shop", True),
        ("team=sho", False),
        ("team=SHOP", False),
        ("team!=shop", False),
        ("team!=ops", True),
        ("team=~shop", True),
        ("team=~sho", False),
        ("team=~hop", False),
        ("team=~ops|shop", True),
        ("team=~ops|sh", False),
        ("team!~ops|sh", True),
        ("team!~s.*", False),
        ("team=~(?i)SHOP", True),
        ("absent=", True),
        ("absent!=", False),
        ("absent=~.*", True),
        ("absent=~.+", False),
        ("absent!=x", True),
        ("absent!~x", True),
        ("team=~", False),
        ("lines=~one.two", False),
        ("lines=~(?s)one.two", True),
        ("lines=~one$", False),
        (r"lines=~one\stwo", True),
        (r"number=~\d", False),
        ("team=shop,severity=~warning|critical", True),
        ("team=shop,severity=warning", False),
    ],
)
def test_all_matchers_fit_the_whole_value_and_a_missing_label_is_empty(
    text: str, expected: bool
) -> None:
    assert fits(matchers(text), LABELS) is expected


def test_a_line_break_at_the_end_is_part_of_the_value() -> None:
    assert not fits(matchers("team=~shop$"), {"team": "shop\n"})


@pytest.mark.parametrize("word", ["auto", "true", "yes", "Auto", " YES "])
def test_the_label_asks_whatever_the_matchers_say(word: str) -> None:
    assert asks(alert(rollback=word), [])
    assert asks(alert(rollback=word), [matchers("team=ops")])


@pytest.mark.parametrize("word", ["never", "false", "none", "no", "manual", "Never", " NO "])
def test_the_label_forbids_whatever_the_matchers_say(word: str) -> None:
    assert not asks(alert(rollback=word, team="shop"), [matchers("team=shop")])


@pytest.mark.parametrize("labels", [{}, {"rollback": ""}, {"rollback": "maybe"}, {"rollback": "1"}])
@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], False),
        (["team=shop"], True),
        (["team=ops"], False),
        (["team=ops", "severity=critical"], True),
        (["team=shop,severity=warning", "team=ops"], False),
        ([""], False),
        (["", "team=shop"], True),
    ],
    ids=str,
)
def test_without_a_clear_word_any_set_of_matchers_asks(
    labels: dict[str, str], sets: Sequence[str], expected: bool
) -> None:
    one = alert(team="shop", severity="critical", **labels)
    assert asks(one, [matchers(each) for each in sets]) is expected


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=12)), max_size=4))
def test_any_quoted_list_is_read_back_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    written = ", ".join(f"{quoted(label)}={quoted(value)}" for label, value in pairs)
    expected = [Matcher(label=label, operator="=", value=value) for label, value in pairs]
    assert list(matchers(written)) == expected
    assert list(matchers("{" + written + "}")) == expected


@given(st.text(alphabet='ab=!~",{}\\ \n([*', max_size=24) | st.text(max_size=24))
def test_any_text_is_read_as_matchers_or_refused(text: str) -> None:
    try:
        read = matchers(text)
    except ValueError:
        return
    assert all(each.label for each in read)
    fits(read, LABELS)
