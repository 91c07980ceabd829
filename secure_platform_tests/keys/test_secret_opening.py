"""What opens everything else is read from a private file or a variable, each time, and is never shown."""

import copy
import json
import pickle
from pathlib import Path

import pytest

from secure_platform.errors import UsageError
from secure_platform.keys.secrets.opening import read_opening
from secure_platform.keys.secrets.secret import LARGEST, Secret

CANARY = "canary-8c1f0e5d"


def private(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    path.chmod(0o600)
    return f"secret://file/{path}"


def test_a_file_and_a_variable_are_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = private(tmp_path / "secret", b"one\n")
    assert read_opening(reference).line == "one"
    private(tmp_path / "secret", b"two\r\n")
    assert read_opening(reference).line == "two"
    monkeypatch.setenv("PLATFORM_TEST_SECRET", "three")
    assert read_opening("secret://env/PLATFORM_TEST_SECRET").value == b"three"
    monkeypatch.setenv("PLATFORM_TEST_SECRET", "four")
    assert read_opening("secret://env/PLATFORM_TEST_SECRET").value == b"four"


def test_a_field_of_a_document_is_read(tmp_path: Path) -> None:
    reference = private(tmp_path / "secret", json.dumps({"user": "u", "n": 5, "password": CANARY}).encode())
    assert read_opening(f"{reference}#password").line == CANARY
    for field in ("n", "absent", "pass"):
        with pytest.raises(UsageError, match="not there") as refused:
            read_opening(f"{reference}#{field}")
        assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"{", b"[1]", b'"x"', b"\xff", b"[" * 60_000, b'{"password": null}', b'{"password": "\\ud800"}'],
)
def test_a_field_of_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="not there"):
        read_opening(private(tmp_path / "secret", content) + "#password")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"x" * (LARGEST + 1), "larger"),
    ],
)
def test_nothing_and_too_much_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_opening(private(tmp_path / "secret", content))


def test_64_kib_of_any_bytes_are_a_secret(tmp_path: Path) -> None:
    content = bytes(range(256)) * 256
    secret = read_opening(private(tmp_path / "secret", content))
    assert secret.value == content
    assert secret.equals(content)
    assert not secret.equals(content[:-1])


@pytest.mark.parametrize(
    "content",
    [b"\n", b" \n", b"a\nb", b"a\x00b", b"a\rb", b"a\x1b[2J", b"\xff\xfe", b"a\n\n", b"a\xe2\x80\xa8b"],
)
def test_what_would_end_a_header_or_a_string_is_no_line(tmp_path: Path, content: bytes) -> None:
    secret = read_opening(private(tmp_path / "secret", content))
    with pytest.raises(UsageError, match=r"not text|one secret"):
        _ = secret.line


def test_a_missing_open_or_linked_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_opening(f"secret://file/{tmp_path}/absent")
    reference = private(tmp_path / "open", CANARY.encode())
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(UsageError, match="symbolic link"):
        read_opening(f"secret://file/{tmp_path}/link")
    (tmp_path / "open").chmod(0o640)
    with pytest.raises(UsageError, match="mode 0640") as refused:
        read_opening(reference)
    assert CANARY not in str(refused.value)
    with pytest.raises(UsageError, match="not a regular file"):
        read_opening(f"secret://file/{tmp_path}")
    with pytest.raises(UsageError, match="relative to nothing"):
        read_opening("secret://file/relative")


def test_a_variable_that_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLATFORM_TEST_SECRET", raising=False)
    with pytest.raises(UsageError, match="PLATFORM_TEST_SECRET is not set"):
        read_opening("secret://env/PLATFORM_TEST_SECRET")


def test_nothing_else_can_be_read_before_it_is_open() -> None:
    with pytest.raises(UsageError, match="before the provider"):
        read_opening("secret://vault/kv/x")


def test_a_secret_is_not_shown_copied_or_pickled() -> None:
    secret = Secret(CANARY.encode(), "secret://env/X", "3")
    assert CANARY not in f"{secret!r} {secret} {secret:}"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises((UsageError, TypeError)) as refused:
            leak(secret)
        assert CANARY not in str(refused.value)
