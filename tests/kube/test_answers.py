"""The table of refusals, and what a text of others is made into."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import Conflict, Denied, Forbidden, ReceiverError, Unavailable
from receiver.kube.answers import LONGEST, MissingError, error_of, plain

CAUSE = {"reason": "FieldValueInvalid", "field": "spec.replicas", "message": "no"}
VERBS = ("get", "list", "watch", "create", "update", "patch")


def _body(**more: Any) -> str:
    return json.dumps({"kind": "Status", "reason": "Any", "message": "told"} | more)


def _with(*causes: dict[str, str]) -> str:
    return _body(reason="Invalid", details={"causes": list(causes)})


@pytest.mark.parametrize(
    ("verb", "status", "body", "expected"),
    [
        ("patch", 400, _body(), Denied),
        ("patch", 401, _body(), Forbidden),
        ("patch", 403, _body(), Forbidden),
        ("patch", 404, _body(), MissingError),
        ("patch", 409, _body(), Conflict),
        ("patch", 413, _body(), Denied),
        ("patch", 415, _body(), Denied),
        ("patch", 422, _body(), Conflict),
        ("patch", 422, _body(details={"causes": []}), Conflict),
        ("patch", 422, _with(CAUSE), Denied),
        # Only a patch has tests that can fail.
        ("create", 422, _body(), Denied),
        ("update", 422, _body(), Denied),
        ("update", 409, _body(), Conflict),
        ("create", 409, _body(), Conflict),
        ("patch", 408, _body(), Unavailable),
        ("patch", 410, _body(), Unavailable),
        ("patch", 429, _body(), Unavailable),
        ("patch", 500, _body(), Unavailable),
        ("patch", 503, "", Unavailable),
        ("get", 504, "<html>", Unavailable),
        ("get", 302, "", Unavailable),
        ("get", 0, "", Unavailable),
    ],
)
def test_a_refusal_is_the_error_of_the_table(
    verb: str, status: int, body: str, expected: type[Exception]
) -> None:
    assert type(error_of(verb, status, body)) is expected


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("status", "written"), [(408, True), (410, False), (429, False), (500, True), (504, True)]
)
def test_only_a_write_can_be_ambiguous_and_not_when_it_was_turned_away(
    verb: str, status: int, written: bool
) -> None:
    error = error_of(verb, status, _body())
    assert isinstance(error, Unavailable)
    assert error.ambiguous == (written and verb in ("create", "update", "patch"))


def test_a_denial_names_the_fields_once_and_nothing_else() -> None:
    other = CAUSE | {"field": "metadata.annotations"}
    error = error_of("patch", 422, _with(CAUSE, CAUSE, other))
    assert str(error) == "422 Invalid: spec.replicas, metadata.annotations"


def test_a_cause_without_a_field_is_named_by_its_reason() -> None:
    error = error_of("patch", 422, _with({"reason": "PolicyDenied", "message": "secret"}))
    assert str(error) == "422 Invalid: PolicyDenied"


@pytest.mark.parametrize(
    ("header", "detail", "expected"),
    [
        pytest.param("7", None, 7.0, id="header"),
        pytest.param("7", 3, 7.0, id="header_first"),
        pytest.param(None, 3, 3.0, id="detail"),
        pytest.param(None, None, None, id="neither"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", None, None, id="date"),
        pytest.param("-1", None, None, id="negative"),
        pytest.param("\u0667", None, None, id="other_digits"),
        pytest.param("9" * 400, None, None, id="endless"),
    ],
)
def test_when_to_come_back_is_read_in_seconds(
    header: str | None, detail: int | None, expected: float | None
) -> None:
    body = _body(details={} if detail is None else {"retryAfterSeconds": detail})
    error = error_of("get", 429, body, header)
    assert isinstance(error, Unavailable)
    assert error.retry_after == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
statuses = st.fixed_dictionaries(
    {},
    optional={
        "reason": json_values,
        "message": json_values,
        "details": json_values | st.fixed_dictionaries({"causes": json_values}),
    },
)


@given(
    verb=st.sampled_from(VERBS),
    status=st.integers(min_value=0, max_value=599),
    body=st.text() | statuses.map(json.dumps),
    header=st.none() | st.text(),
)
def test_any_refusal_is_one_error_with_one_short_printable_line(
    verb: str, status: int, body: str, header: str | None
) -> None:
    error = error_of(verb, status, body, header)
    assert isinstance(error, ReceiverError | MissingError)
    assert len(str(error)) <= LONGEST
    assert str(error).isprintable()


def test_a_refusal_nested_without_end_is_read_as_nothing() -> None:
    assert str(error_of("get", 500, "[" * 100_000)) == "the Kubernetes API answered 500"


@given(text=st.text(), longest=st.integers(min_value=1, max_value=40))
def test_a_text_of_others_is_one_short_printable_line(text: str, longest: int) -> None:
    line = plain(text, longest)
    assert line.isprintable()
    assert len(line) <= longest
