"""Errors, canonical JSON and private files: what everything else stands on."""

import errno
import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform import canonical, errors, files
from secure_platform.errors import IntegrityError, SecurePlatformError, StepFailedError, StorageError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_is_read_back(value: Any) -> None:
    document = canonical.dumps(value)
    assert canonical.loads(document, name="It") == value
    assert canonical.dumps(canonical.loads(document, name="It")) == document


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_canonical_json_is_rfc_8785(shared_data: Path, name: str) -> None:
    folder = shared_data / "crypto_signing" / "rfc8785_jcs"
    given_value = json.loads((folder / "input" / f"{name}.json").read_text(encoding="utf-8"))
    assert canonical.dumps(given_value) == (folder / "output" / f"{name}.json").read_bytes()


@pytest.mark.parametrize(
    "document",
    [
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b"{} {}",
        b"",
        b"[" * 99_999,
    ],
)
def test_what_two_readers_could_read_differently_is_refused(document: bytes) -> None:
    with pytest.raises(IntegrityError, match="The manifest is not a strict JSON document"):
        canonical.loads(document, name="The manifest")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60, {1: 2}, b"x", object()])
def test_what_canonical_json_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(IntegrityError):
        canonical.dumps({"a": value})


def test_files_and_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        directory = files.private_directory(tmp_path / "a" / "b")
        files.write_private(directory / "f", b"x")
        files.replace_private(directory / "f", b"y")
    finally:
        os.umask(old)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "f").stat().st_mode) == 0o600


def test_a_new_file_never_overwrites_or_follows(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link"):
        with pytest.raises(OSError):  # noqa: PT011 - the kernel's own refusal
            files.write_private(tmp_path / name, b"y")
    assert (tmp_path / "there").read_bytes() == b"x"
    assert not (tmp_path / "elsewhere").exists()


def test_a_replacement_that_fails_leaves_the_old_bytes_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pointer"
    files.replace_private(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.replace_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_published_directory_appears_whole(tmp_path: Path) -> None:
    staged = files.private_directory(tmp_path / "staged" / "inner")
    (staged / "f").write_bytes(b"x")
    files.publish_directory(tmp_path / "staged", tmp_path / "room" / "final")
    assert (tmp_path / "room" / "final" / "inner" / "f").read_bytes() == b"x"
    assert stat.S_IMODE((tmp_path / "room" / "final" / "inner" / "f").stat().st_mode) == 0o600
    assert not (tmp_path / "staged").exists()


def test_a_digest_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    assert files.file_sha256(tmp_path / "f") == canonical.sha256(b"abc")
    with pytest.raises(OSError):  # noqa: PT011 - the kernel's own refusal
        files.file_sha256(tmp_path / "link")


def test_every_error_has_its_documented_exit_code() -> None:
    codes = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, SecurePlatformError)
    }
    assert codes == {
        "SecurePlatformError": 1,
        "StepFailedError": 1,
        "UsageError": 2,
        "ContractError": 3,
        "DataRefusedError": 3,
        "PlanRefusedError": 3,
        "GateRefusedError": 4,
        "AlreadyRolledBackError": 4,
        "AccessDeniedError": 4,
        "IntegrityError": 5,
        "StorageError": 6,
        "ServiceError": 7,
    }


def test_a_foreign_error_is_named_by_class_and_line_only() -> None:
    try:
        int("canary-424")
    except ValueError as error:
        withheld = StepFailedError.withheld("The step", error)
    assert "ValueError" in str(withheld)
    assert "test_foundations.py:" in str(withheld)
    assert "canary" not in str(withheld)


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("canary-424")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "canary-424"), "No space left on device"),
        (OSError(errno.EIO, "canary-424", "/canary-424"), "Input/output error"),
        (
            pl.exceptions.ComputeError("canary-424: Read-only file system (os error 30)"),
            "Read-only file system",
        ),
        (OSError("No space left on device (os error 28): canary-424"), "No space left on device"),
        (duckdb.IOException("canary-424: Input/output error"), "Input/output error"),
        (duckdb.TransactionException("canary-424: No space left on device"), "No space left on device"),
        (duckdb.FatalException("canary-424: No space left on device"), "No space left on device"),
        (_sqlite(sqlite3.SQLITE_FULL), "No space left on device"),
        (_sqlite(sqlite3.SQLITE_IOERR_WRITE), "Input/output error"),
        (_sqlite(sqlite3.SQLITE_IOERR_SHMSIZE), "No space left on device"),
        (_caused(ValueError("canary-424"), _sqlite(sqlite3.SQLITE_FULL)), "No space left on device"),
    ],
)
def test_a_disk_behind_a_foreign_error_is_named_without_its_text(error: Exception, reason: str) -> None:
    found = StorageError.behind("The step", error)
    assert found is not None
    assert str(found).startswith(f"The step could not use the disk: {reason}. Free or repair the disk")
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    "error",
    [
        OSError("no number"),
        FileNotFoundError(errno.ENOENT, "x"),
        ValueError("28"),
        _sqlite(1),
        ValueError("a cell: Read-only file system"),
        duckdb.ConversionException("Could not convert string 'Input/output error' to INT32"),
        pl.exceptions.InvalidOperationError('conversion failed: ["File too large"]'),
        OSError("Input/output error (os error 2)"),
    ],
)
def test_no_disk_is_found_behind_another_error(error: Exception) -> None:
    error.__context__ = error
    assert StorageError.behind("The step", error) is None


def test_importing_the_package_closes_the_spill_core_dumps_and_telemetry() -> None:
    shown = "os.environ['POLARS_OOC_DISK_BUDGET_MB'], os.environ['DO_NOT_TRACK']"
    limit = "resource.getrlimit(resource.RLIMIT_CORE)[0]"
    dumpable = "ctypes.CDLL(None).prctl(3)"
    allowed = "resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)[1:] * 2)"
    script = (
        f"import ctypes, os, resource; {allowed}; import secure_platform; print({shown}, {limit}, {dumpable})"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert finished.stdout.split() == ["0", "1", "0", "0"]
