import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.alerts import Alert, Payload, TargetLabels, fingerprint, named, parse
from tests.captured import FOLDER, Scenario, payload, payloads, scenario, scenarios

BODIES = [(one.name, n, body) for one in scenarios() for n, body in enumerate(one.bodies)]


def raw(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    return document


def parsed(name: str) -> list[Payload]:
    return [parse(body) for body in scenario(name).bodies]


def only(name: str) -> Alert:
    (alert,) = parse(payload(name)).alerts
    return alert


def test_the_recordings_are_complete_to_the_byte() -> None:
    assert len(scenarios()) == 33
    assert len(BODIES) == 134
    for one in scenarios():
        requests = json.loads((FOLDER / f"{one.name}.json").read_bytes())["exchanges"]
        sizes = [each["request"]["body_bytes"] for each in requests]
        assert [len(each.body) for each in one.exchanges] == sizes, one.name


def test_each_plain_body_was_sent_in_a_scenario() -> None:
    sent = {body for _, _, body in BODIES}
    assert len(payloads()) == 14
    assert {payload(name) for name in payloads()} <= sent


@pytest.mark.parametrize("one", scenarios(), ids=lambda one: one.name)
def test_every_body_is_read_alert_by_alert_and_loses_nothing(one: Scenario) -> None:
    for body in one.bodies:
        said, read = raw(body), parse(body)
        assert (read.group_key, read.receiver) == (said["groupKey"], said["receiver"])
        assert (read.external_url, read.truncated) == (said["externalURL"], said["truncatedAlerts"])
        assert len(read.alerts) == len(said["alerts"])
        for ours, theirs in zip(read.alerts, said["alerts"], strict=True):
            assert ours.labels == theirs["labels"]
            assert ours.annotations == theirs["annotations"]
            assert ours.status == theirs["status"]
            assert ours.firing is (ours.ends_at is None)
            assert ours.generator_url == theirs["generatorURL"]
            assert ours.starts_at.tzinfo is UTC
            assert ours.ends_at is None or ours.ends_at >= ours.starts_at


def test_recomputing_a_fingerprint_gives_what_alertmanager_wrote() -> None:
    alerts = [alert for _, _, body in BODIES for alert in raw(body)["alerts"]]
    assert len(alerts) == 161
    assert [fingerprint(a["labels"]) for a in alerts] == [a["fingerprint"] for a in alerts]


def test_a_missing_fingerprint_is_computed_to_the_same() -> None:
    document = raw(payload("odd-characters"))
    given = document["alerts"][0].pop("fingerprint")
    assert parse(json.dumps(document).encode()).alerts[0].fingerprint == given


def test_odd_characters_come_through_as_they_were_meant() -> None:
    read = parse(payload("odd-characters"))
    (alert,) = read.alerts
    assert read.receiver == r"team\.shop/rollback-webhook \(prod\)"
    assert alert.labels["html"] == "<b>&</b>"
    assert alert.labels["nl"] == "line1\nline2"
    assert alert.labels["quote"] == 'a"b\\c'
    assert alert.labels["uni"] == "größe→✓"
    assert alert.annotations["message"] == "tab\there <script> & \u2028"
    assert named(alert, TargetLabels()).invalid == ()


def test_local_time_with_nanoseconds_is_read_as_utc() -> None:
    alert = only("resolved-local-time-empty-fields")
    assert alert.starts_at == datetime(2026, 11, 23, 1, 27, 43, 335897, tzinfo=UTC)
    assert alert.ends_at == datetime(2026, 11, 23, 1, 27, 49, 335897, tzinfo=UTC)
    assert alert.starts_at.tzinfo is UTC
    assert (alert.generator_url, alert.annotations) == ("", {})


def test_a_cut_group_says_resolved_and_counts_what_is_missing() -> None:
    firing, resolved = parsed("13")
    assert (firing.truncated, resolved.truncated) == (3, 3)
    assert raw(payload("truncated-status-resolved-while-firing"))["status"] == "resolved"
    assert [alert.status for alert in firing.alerts] == ["firing", "firing"]
    assert [alert.status for alert in resolved.alerts] == ["resolved", "resolved"]


def test_in_a_partly_resolved_group_each_alert_has_its_own_status() -> None:
    read = parse(payload("partially-resolved"))
    assert raw(payload("partially-resolved"))["status"] == "firing"
    assert sorted(alert.status for alert in read.alerts) == ["firing", "firing", "resolved"]


def test_a_template_error_in_a_label_is_no_name_and_is_reported() -> None:
    alert = only("template-error-labels")
    assert alert.labels["deployment"].startswith("<error expanding template:")
    found = named(alert, TargetLabels())
    assert (found.namespace, found.deployment, found.track) == ("shop", "", "canary")
    assert found.cluster == "prod-eu1"
    assert found.invalid == ("deployment",)


def test_the_stale_firing_after_resolved_is_the_same_episode_to_the_microsecond() -> None:
    first, resolved, stale, _ = (read.alerts[0] for read in parsed("25"))
    assert [first.status, resolved.status, stale.status] == ["firing", "resolved", "firing"]
    assert stale.fingerprint == first.fingerprint
    assert stale.starts_at == first.starts_at
    assert resolved.ends_at is not None
    assert stale.starts_at <= resolved.ends_at


def test_peers_differ_in_nothing_but_who_they_are() -> None:
    one, other = (parse(payload(f"cluster-peer-{n}")) for n in (0, 1))
    assert one.external_url != other.external_url
    assert {a.external_url for a in one.alerts} == {one.external_url}
    alerts = [[replace(a, external_url="") for a in each.alerts] for each in (one, other)]
    assert alerts[0] == alerts[1]
    assert one.group_key == other.group_key


def test_scenarios_are_found_by_number_or_name_and_others_are_not_guessed() -> None:
    assert scenario("25") is scenario("25-cluster-stale-firing-after-resolved")
    for wrong in ("2", "99", "cluster", ""):
        with pytest.raises(LookupError):
            scenario(wrong)
    with pytest.raises(LookupError):
        payload("../01-firing-group-of-3")
