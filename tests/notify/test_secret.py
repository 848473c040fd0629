import os
from pathlib import Path

import pytest

from receiver.notify import PAGERDUTY, Kind, Secret, Sink


def test_a_secret_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("\n  s3cret \r\n")
    assert Secret(file=str(file)).read() == "s3cret"
    file.write_bytes(b"\xef\xbb\xbfs3cret\n")
    assert Secret(file=str(file)).read() == "s3cret"


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    secret = Secret(file=str(file))
    assert secret.read() == ""
    file.write_text("one")
    assert secret.read() == "one"
    # As Kubernetes does it: the name comes to point elsewhere.
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(file)
    assert secret.read() == "two"


def test_a_secret_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ROLLBACK_TEST_SECRET", " s3cret ")
    secret = Secret(environment="ROLLBACK_TEST_SECRET")
    assert secret.read() == "s3cret"
    monkeypatch.delitem(os.environ, "ROLLBACK_TEST_SECRET")
    assert secret.read() == ""


def test_what_cannot_be_read_is_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    assert Secret(file=str(tmp_path)).read() == ""
    file.write_bytes(b"\xff\xfe\x00")
    assert Secret(file=str(file)).read() == ""
    file.write_text("s" * 10_000_000)
    assert len(Secret(file=str(file)).read()) == 16 * 1024


def test_no_secret_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret")
    secret = Secret(file=str(file))
    secret.read()
    sink = Sink(name="chat", kind=Kind.SLACK, secret=secret)
    assert "s3cret" not in repr(secret) + str(secret) + repr(sink)


@pytest.mark.parametrize(("file", "environment"), [("", ""), ("/a", "B")])
def test_a_secret_is_in_exactly_one_place(file: str, environment: str) -> None:
    with pytest.raises(ValueError, match="either a file or an environment variable"):
        Secret(file=file, environment=environment)


@pytest.mark.parametrize(
    ("endpoint", "fine"),
    [
        (PAGERDUTY, True),
        ("https://events.eu.pagerduty.com", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://events.pagerduty.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
        ("ftp://127.0.0.1", False),
        ("https://", False),
        ("https://x:99999", False),
        ("events.pagerduty.com", False),
        ("", False),
    ],
)
def test_a_key_goes_over_tls_or_stays_on_this_machine(endpoint: str, *, fine: bool) -> None:
    def make() -> Sink:
        return Sink(
            name="pager",
            kind=Kind.PAGERDUTY,
            secret=Secret(environment="KEY"),
            endpoint=endpoint,
        )

    if fine:
        assert make().endpoint == endpoint
    else:
        with pytest.raises(ValueError, match="'pager': the endpoint must be https"):
            make()
