"""Webhooks to change one thing about."""

import json
from typing import Any

LABELS = {"alertname": "HighErrorRate", "namespace": "shop", "deployment": "checkout"}
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": LABELS,
    "annotations": {"summary": "many errors"},
    "startsAt": "2026-11-23T01:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus.example/graph",
    "fingerprint": "00000000000000ff",
}
WEBHOOK: dict[str, Any] = {
    "version": "4",
    "groupKey": "{}:{}",
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "rollback",
    "externalURL": "http://alertmanager.example",
    "alerts": [ALERT],
}
ABSENT = object()


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (document | changes).items() if value is not ABSENT}


def body(**changes: Any) -> bytes:
    return json.dumps(changed(WEBHOOK, **changes)).encode()


def with_alert(**changes: Any) -> bytes:
    return body(alerts=[changed(ALERT, **changes)])


def fnv(text: bytes | str) -> str:
    """FNV-1a 64; in a string, the character 0xFF stands for the byte."""
    if isinstance(text, str):
        text = b"\xff".join(part.encode() for part in text.split("\xff"))
    value = 14695981039346656037
    for byte in text:
        value ^= byte
        value = (value * 1099511628211) % 2**64
    return f"{value:016x}"
