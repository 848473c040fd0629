"""`parse`: times, fingerprints, and what is refused with which reason."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from receiver.alerts import Payload, _Alert, _Webhook, fingerprint, parse
from receiver.errors import Rejected
from tests.alerts.webhooks import ABSENT, ALERT, LABELS, body, changed, fnv, with_alert


def refused(data: bytes) -> tuple[str, str]:
    with pytest.raises(Rejected) as caught:
        parse(data)
    assert caught.value.status == 400
    assert caught.value.__suppress_context__
    assert len(str(caught.value)) < 300
    return caught.value.reason, str(caught.value)


# --- what is read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-11-23T01:00:00Z", datetime(2026, 11, 23, 1, tzinfo=UTC)),
        ("2026-11-23T01:00:00.2Z", datetime(2026, 11, 23, 1, 0, 0, 200_000, tzinfo=UTC)),
        ("2026-11-23T01:00:00.38Z", datetime(2026, 11, 23, 1, 0, 0, 380_000, tzinfo=UTC)),
        ("2026-11-23T01:00:00.123456789Z", datetime(2026, 11, 23, 1, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-11-23T01:00:00.000000999Z", datetime(2026, 11, 23, 1, tzinfo=UTC)),
        ("2026-11-23T09:00:00+08:00", datetime(2026, 11, 23, 1, tzinfo=UTC)),
        ("2026-11-22T21:30:00.5-03:30", datetime(2026, 11, 23, 1, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-02-29T23:59:59Z", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times_of_rfc_3339_become_utc_to_the_microsecond(written: str, read: datetime) -> None:
    (alert,) = parse(with_alert(status="resolved", startsAt=written, endsAt=written)).alerts
    assert (alert.starts_at, alert.ends_at) == (read, read)
    assert alert.starts_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "zero",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00.000000000Z",
        "0001-01-01T08:05:43+08:05",
        "0000-12-31T19:03:58-04:56",
        ABSENT,
        None,
    ],
    ids=["utc", "nanoseconds", "east of it", "west of it", "absent", "null"],
)
def test_an_end_that_is_not_set_is_none_while_it_fires_and_the_start_once_resolved(
    zero: Any,
) -> None:
    (firing,) = parse(with_alert(endsAt=zero)).alerts
    assert firing.ends_at is None
    (resolved,) = parse(with_alert(status="resolved", endsAt=zero)).alerts
    assert resolved.ends_at == resolved.starts_at


def test_an_end_that_a_firing_alert_announces_is_kept() -> None:
    (alert,) = parse(with_alert(endsAt="2026-11-23T01:05:00Z")).alerts
    assert alert.firing
    assert alert.ends_at == datetime(2026, 11, 23, 1, 5, tzinfo=UTC)


def test_a_well_formed_fingerprint_is_believed_even_against_the_labels() -> None:
    assert fingerprint(LABELS) != "00000000000000ff"
    assert parse(with_alert()).alerts[0].fingerprint == "00000000000000ff"


@pytest.mark.parametrize(
    "given",
    [ABSENT, "", "FF", "00000000000000FF", "0" * 15, "0" * 17, "0" * 15 + "g", "0" * 16 + "\n"],
)
def test_a_fingerprint_that_is_none_is_computed(given: Any) -> None:
    assert parse(with_alert(fingerprint=given)).alerts[0].fingerprint == fingerprint(LABELS)


def test_the_fingerprint_is_fnv_1a_over_labels_in_byte_order() -> None:
    assert fingerprint({}) == "cbf29ce484222325"  # the offset basis: nothing was hashed
    # Computed apart from this code, from the definition: xor the byte, then times the prime.
    assert fingerprint({"a": ""}) == fnv(b"a\xff\xff")
    assert fingerprint({"ö": "2", "z": "1"}) == fnv("z\xff1\xffö\xff2\xff")
    # UTF-16 would sort these the other way round.
    assert fingerprint({"\U0001f600": "1", "\uff5e": "2"}) == fnv(
        "\uff5e\xff2\xff\U0001f600\xff1\xff"
    )


def test_alerts_stay_in_order_even_with_one_fingerprint_twice() -> None:
    twice = [changed(ALERT, status=s, startsAt=f"2026-11-23T0{n}:00:00Z") for n, s in STORY]
    read = parse(body(alerts=twice)).alerts
    assert [(a.starts_at.hour, a.status) for a in read] == STORY
    assert {a.fingerprint for a in read} == {"00000000000000ff"}


STORY = [(2, "resolved"), (1, "firing"), (3, "firing")]


def test_what_is_unknown_or_says_nothing_about_one_alert_is_let_pass() -> None:
    alert = ALERT | {"new": [1, {"deep": None}]}
    read = parse(body(alerts=[alert], routeLabels={"a": "b"}, notification_reason="x", status=7))
    assert read == parse(body())


def test_a_webhook_without_alerts_is_one() -> None:
    assert parse(body(alerts=[])) == Payload(
        group_key="{}:{}",
        receiver="rollback",
        external_url="http://alertmanager.example",
        truncated=0,
        alerts=(),
    )


def test_what_other_senders_leave_out_is_empty() -> None:
    small = {"version": "4", "groupKey": "k", "alerts": [{"status": "firing", "labels": {}}]}
    small["alerts"][0]["startsAt"] = "2026-11-23T01:00:00Z"  # type: ignore[index] # literal above
    read = parse(json.dumps(small).encode())
    assert (read.receiver, read.external_url, read.truncated) == ("", "", 0)
    (alert,) = read.alerts
    assert (alert.name, alert.annotations, alert.generator_url) == ("", {}, "")


def test_the_last_of_two_equal_keys_counts_as_it_does_in_go() -> None:
    data = body().replace(b'"namespace": "shop"', b'"namespace": "a", "namespace": "b"')
    assert parse(data).alerts[0].labels["namespace"] == "b"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_words_that_look_like_no_number_are_fine_in_text(word: str) -> None:
    assert parse(with_alert(annotations={"value": word})).alerts[0].annotations["value"] == word


# --- what is refused

NOT_JSON = {
    "empty": b"",
    "blank": b" \n",
    "null": b"null",
    "null with blanks": b"\n null\t",
    "a word": b"hello",
    "a form": b"payload=%7B%7D",
    "NaN": b"NaN",
    "NaN where nobody looks": body(x=float("nan")),
    "Infinity in an alert": with_alert(x=float("inf")),
    "NaN in place of a label": with_alert(labels={"a": float("nan")}),
    "cut short": body()[:-1],
    "two documents": body() + body(),
    "a comma too many": body()[:-1] + b",}",
    "single quotes": b"{'version': '4'}",
    "a comment": b"/* */ {}",
    "bad UTF-8": body().replace(b"shop", b"sh\xffp"),
    "bad UTF-8 in a key": body().replace(b'"receiver"', b'"receiv\xc3"'),
    "half a surrogate": body().replace(b"shop", rb"\ud800"),
    "overlong UTF-8": body().replace(b"shop", b"\xc0\xaf"),
    "a bare control character": body().replace(b"shop", b"sh\x00p"),
    "UTF-16": body().decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "deep lists": b"[" * 10_000,
    "deep lists, closed": b"[" * 10_000 + b"]" * 10_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep where nobody looks": body(x=0).replace(
        b'"x": 0', b'"x": ' + b"[" * 10_000 + b"]" * 10_000
    ),
    "a very long number": body(x=0).replace(b'"x": 0', b'"x": ' + b"9" * 100_000),
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_is_refused_as_such(data: bytes) -> None:
    assert refused(data)[0] == "not_json"


@pytest.mark.parametrize("version", ["3", "5", "4.0", "", 4, 4.5, None, ["4"], {"4": 4}])
def test_another_version_is_refused_whatever_else_is_in_it(version: Any) -> None:
    assert refused(body(version=version))[0] == "unsupported_version"
    assert refused(json.dumps({"version": version}).encode())[0] == "unsupported_version"


NOT_A_WEBHOOK = {
    "a list": b"[]",
    "a list of alerts": json.dumps([ALERT]).encode(),
    "an object": b"{}",
    "a string": b'"4"',
    "a number": b"4",
    "true": b"true",
    "a chat message": b'{"text": "HighErrorRate fires"}',
    "a custom payload": b'{"version": "4", "summary": "HighErrorRate fires"}',
    "only alerts": json.dumps({"alerts": [ALERT]}).encode(),
    "no version": body(version=ABSENT),
    "no groupKey": body(groupKey=ABSENT),
    "no alerts": body(alerts=ABSENT),
    "alerts are null": body(alerts=None),
    "alerts are an object": body(alerts={"0": ALERT}),
    "alerts are text": body(alerts="[]"),
    "groupKey is null": body(groupKey=None),
    "groupKey is a number": body(groupKey=1),
    "receiver is a list": body(receiver=[]),
    "truncatedAlerts is negative": body(truncatedAlerts=-1),
    "truncatedAlerts is text": body(truncatedAlerts="3"),
    "truncatedAlerts is true": body(truncatedAlerts=True),
    "truncatedAlerts is a fraction": body(truncatedAlerts=0.5),
    "truncatedAlerts is no uint64": body(truncatedAlerts=2**64),
    "truncatedAlerts is beyond floats": body(truncatedAlerts=10**400),
}


@pytest.mark.parametrize("data", NOT_A_WEBHOOK.values(), ids=NOT_A_WEBHOOK)
def test_json_of_another_shape_is_recognised(data: bytes) -> None:
    assert refused(data)[0] == "not_a_webhook"


BAD_ALERTS: dict[str, dict[str, Any]] = {
    "no status": {"status": ABSENT},
    "another status": {"status": "suppressed"},
    "no labels": {"labels": ABSENT},
    "labels are null": {"labels": None},
    "labels are a list": {"labels": [["a", "b"]]},
    "a label is a number": {"labels": {"a": 1}},
    "a label is null": {"labels": {"a": None}},
    "a label is an object": {"labels": {"a": {}}},
    "annotations are null": {"annotations": None},
    "an annotation is a number": {"annotations": {"a": 1.5}},
    "generatorURL is null": {"generatorURL": None},
    "fingerprint is a number": {"fingerprint": 1},
    "no startsAt": {"startsAt": ABSENT},
    "startsAt is null": {"startsAt": None},
    "startsAt is zero": {"startsAt": "0001-01-01T00:00:00Z"},
    "startsAt is empty": {"startsAt": ""},
    "startsAt is a number": {"startsAt": 1_700_000_000},
    "startsAt is a number in text": {"startsAt": "1700000000"},
    "startsAt is a date": {"startsAt": "2026-11-23"},
    "startsAt has no offset": {"startsAt": "2026-11-23T01:00:00"},
    "startsAt has a blank": {"startsAt": "2026-11-23 01:00:00Z"},
    "startsAt has other digits": {"startsAt": "٢٠٢٦-11-23T01:00:00Z"},
    "startsAt ends in a line": {"startsAt": "2026-11-23T01:00:00Z\n"},
    "there is no such day": {"startsAt": "2026-02-30T01:00:00Z"},
    "there is no such hour": {"startsAt": "2026-11-23T25:00:00Z"},
    "there is no such offset": {"startsAt": "2026-11-23T01:00:00+99:00"},
    "startsAt is after the calendar": {"startsAt": "9999-12-31T23:59:59-01:00"},
    "endsAt is a number": {"endsAt": 0},
    "endsAt is no time": {"endsAt": "never"},
}


@pytest.mark.parametrize("changes", BAD_ALERTS.values(), ids=BAD_ALERTS)
def test_an_alert_that_cannot_be_read_is_named_by_its_index(changes: dict[str, Any]) -> None:
    reason, message = refused(body(alerts=[ALERT, ALERT, changed(ALERT, **changes)]))
    assert reason == "bad_alert"
    assert message.startswith("alerts.2")


@pytest.mark.parametrize("alert", [None, 1, "x", [], [ALERT]])
def test_an_alert_that_is_no_object_is_named_too(alert: Any) -> None:
    assert refused(body(alerts=[alert]))[1].startswith("alerts.0")


def test_a_refusal_says_which_label_and_no_more_than_a_line_of_it() -> None:
    name = "x\n\x1b[31m" * 1_000
    reason, message = refused(with_alert(labels={"good": "text", name: 1}))
    assert reason == "bad_alert"
    assert message.isprintable()
    assert refused(with_alert(labels={"good": "text", "team": 1}))[1].endswith(
        "'team' is no string"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"alerts": [{}] * 1_000},
        {"alerts": [changed(ALERT, labels={str(n): n for n in range(1_000)})] * 10},
        {"alerts": [changed(ALERT, annotations={str(n): None for n in range(1_000)})] * 10},
    ],
    ids=["alerts", "labels", "annotations"],
)
def test_the_first_mistake_ends_the_reading(changes: dict[str, Any]) -> None:
    # Each one listed costs some 600 bytes, and a body of the largest size can hold millions.
    with pytest.raises(ValidationError) as caught:
        _Webhook.model_validate_json(body(**changes))
    assert caught.value.error_count() <= len(_Alert.model_fields)
    assert refused(body(**changes))[0] == "bad_alert"
