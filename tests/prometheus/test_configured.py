"""How a Prometheus is configured, and that its token stays a secret."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.app import _own_secrets, _prometheus
from receiver.config import Secrets, Settings, parse


def configured(folder: Path, **prometheus: str) -> Any:
    for name in ("token", "url", "prometheus"):
        (folder / name).write_text(f"https://{name}.example/hidden-{name}")
    document = {
        "auth": {"webhook": {"bearer_tokens": [{"file": str(folder / "token")}]}},
        "kubernetes": {"namespaces": ["shop"]},
        "notify": {
            "sinks": {"all": {"kind": "slack-webhook", "url_file": str(folder / "url")}},
            "routes": {"default": ["all"]},
        },
        "prometheus": prometheus,
    }
    return parse(yaml.safe_dump(document))


@pytest.mark.parametrize(
    "url", ["http://prometheus.monitoring:9090", "https://x/prometheus/", "http://[::1]:9090"]
)
def test_an_address_may_be_plain_http(tmp_path: Path, url: str) -> None:
    settings = configured(tmp_path, url=url)
    assert isinstance(settings, Settings), settings
    assert _prometheus(settings, labels=None) is not None  # type: ignore[arg-type] # not looked at


def test_none_is_asked_by_default(tmp_path: Path) -> None:
    assert _prometheus(configured(tmp_path), labels=None) is None  # type: ignore[arg-type] # the same


@pytest.mark.parametrize("url", ["https://x", "http://127.0.0.1:9090", "http://localhost:9090"])
def test_a_token_is_kept_out_of_logs_and_from_the_api_server(tmp_path: Path, url: str) -> None:
    file = str(tmp_path / "prometheus")
    settings = configured(tmp_path, url=url, token_file=file)
    assert isinstance(settings, Settings), settings
    assert any("hidden-prometheus" in secret for secret in Secrets(settings)())
    assert file in _own_secrets(settings)


@pytest.mark.parametrize("where", [{"url": "http://prometheus.monitoring:9090"}, {}])
def test_a_token_is_not_sent_where_others_can_read_it(
    tmp_path: Path, where: dict[str, str]
) -> None:
    found = configured(tmp_path, token_file=str(tmp_path / "prometheus"), **where)
    assert isinstance(found, list)
    assert ["token_file needs a url that begins with https://" in str(each) for each in found] == [
        True
    ]
    assert "hidden" not in str(found[0])
