import os
from pathlib import Path

import pytest

from receiver.notify import Secret, SlackWebhook, Transport
from tests.virtual import LoopClock


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
    sink = SlackWebhook(url=secret, transport=Transport(LoopClock()))
    assert "s3cret" not in repr(secret) + str(secret) + repr(sink)


@pytest.mark.parametrize(("file", "environment"), [("", ""), ("/a", "B")])
def test_a_secret_is_in_exactly_one_place(file: str, environment: str) -> None:
    with pytest.raises(ValueError, match="either a file or an environment variable"):
        Secret(file=file, environment=environment)


def test_each_line_is_a_secret_of_its_own_while_they_rotate(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" new \n\n  old\r\n")
    assert Secret(file=str(file)).lines() == ("new", "old")
    file.write_text(" \n")
    assert Secret(file=str(file)).lines() == ()
