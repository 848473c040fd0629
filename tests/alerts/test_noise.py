"""Whatever is sent, `parse` reads it or raises `Rejected`, and what it reads is what was said."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.alerts import Payload, parse
from receiver.errors import Rejected
from tests.alerts.webhooks import ALERT, WEBHOOK, body, fnv, with_alert
from tests.captured import payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
KEYS = sorted({*WEBHOOK, *ALERT, "namespace"})
SHAPED = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6)


def reads_or_refuses(data: bytes) -> None:
    outcome: Payload | Rejected
    try:
        outcome = parse(data)
    except Rejected as refusal:
        outcome = refusal
    if isinstance(outcome, Rejected):
        assert outcome.status == 400
        assert outcome.reason in {"not_json", "not_a_webhook", "unsupported_version", "bad_alert"}
        assert str(outcome).isprintable()
    else:
        assert all(alert.starts_at.tzinfo is UTC for alert in outcome.alerts)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reads_or_refuses(data)


@given(JSON)
def test_any_json_is_read_or_refused(document: Any) -> None:
    reads_or_refuses(json.dumps(document).encode())


@given(SHAPED, st.lists(SHAPED, max_size=3))
def test_any_webhook_with_odd_values_is_read_or_refused(
    changes: dict[str, Any], alerts: list[dict[str, Any]]
) -> None:
    reads_or_refuses(body(**(changes | {"alerts": [ALERT | each for each in alerts]})))
    reads_or_refuses(body(**changes))


@given(st.data())
def test_a_real_body_with_some_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    real = payload("canary-firing")
    start = data.draw(st.integers(0, len(real)))
    cut = data.draw(st.integers(0, 20))
    new = data.draw(st.binary(max_size=20) | st.sampled_from([b'"', b"NaN", b"null", b"\\", b"{}"]))
    reads_or_refuses(real[:start] + new + real[start + cut :])


@given(st.text(alphabet="0123456789-+:.TZ ", max_size=40) | st.text(max_size=30))
def test_any_text_in_place_of_a_time_is_read_or_refused(written: str) -> None:
    reads_or_refuses(with_alert(startsAt=written, endsAt=written))


@given(
    st.integers(0, 8 * 10**15),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_any_moment_survives_the_way_through_rfc_3339(microseconds: int, minutes: int) -> None:
    moment = datetime(1970, 1, 2, tzinfo=UTC) + timedelta(microseconds=microseconds)
    local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    (alert,) = parse(with_alert(startsAt=local.isoformat())).alerts
    assert alert.starts_at == moment


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=8))
def test_any_labels_come_through_unchanged(labels: dict[str, str]) -> None:
    data = body(alerts=[ALERT | {"labels": labels, "fingerprint": ""}])
    (alert,) = parse(data).alerts
    assert alert.labels == labels
    written = sorted((k.encode(), v.encode()) for k, v in labels.items())
    assert alert.fingerprint == fnv(b"".join(k + b"\xff" + v + b"\xff" for k, v in written))
