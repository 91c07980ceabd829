"""Names that are not names, and paths that lead elsewhere."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.errors import IntegrityError, UsageError
from secure_platform.store.location import (
    Location,
    list_directory,
    open_directory,
    open_file,
    require_snapshot_id,
)

BAD = ["", ".", "..", "a/b", "/etc", "../x", "A", "1a", "a-b", "a b", "a\n", "a\x00", "é", "a" * 64, "\u0430"]


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("position", range(3))
def test_a_bad_name_never_becomes_a_path(name: str, position: int) -> None:
    names = ["healthcare", "raw", "patients"]
    names[position] = name
    with pytest.raises(UsageError, match="cannot name"):
        Location(*names)


@pytest.mark.parametrize("snapshot_id", [*BAD, "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"])
def test_a_bad_snapshot_id_is_refused(snapshot_id: str) -> None:
    with pytest.raises(UsageError, match="not a snapshot id"):
        require_snapshot_id(snapshot_id)


@given(st.text(max_size=70))
def test_a_name_that_is_accepted_is_one_plain_component(name: str) -> None:
    try:
        location = Location(name, "raw", name)
    except UsageError:
        return
    assert Path(*location.parts) == Path(name) / "raw" / name
    assert len(Path(*location.parts).parts) == 3
    assert name.isascii()


def test_what_encryption_is_bound_to() -> None:
    location = Location("healthcare", "raw", "patients")
    assert location.associated("0" * 32) == b"healthcare/patients/raw/" + b"0" * 32
    assert location.context("0" * 32, "data.parquet") == {
        "product": "healthcare",
        "dataset": "patients",
        "zone": "raw",
        "snapshot_id": "0" * 32,
        "file": "data.parquet",
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "lake" / "a" / "b").mkdir(parents=True)
    (tmp_path / "lake" / "a" / "b" / "file").write_bytes(b"content")
    (tmp_path / "elsewhere" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere" / "b" / "file").write_bytes(b"stolen")
    return tmp_path / "lake"


def test_a_plain_path_opens(root: Path) -> None:
    with open_file(root, ("a", "b", "file")) as file:
        assert file.read() == b"content"
    assert list_directory(root, ("a", "b")) == ["file"]
    assert list_directory(root, ("a", "none")) == []


def test_what_is_missing_is_missing(root: Path) -> None:
    for parts in (("a", "b", "none"), ("a", "none", "file")):
        with pytest.raises(FileNotFoundError):
            open_file(root, parts)


def test_a_linked_directory_is_refused(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "elsewhere")
    for call in (open_file, list_directory, open_directory):
        with pytest.raises(IntegrityError, match="is a link"):
            call(root, ("link", "b", "file") if call is open_file else ("link", "b"))


def test_a_linked_file_is_refused(root: Path) -> None:
    (root / "a" / "b" / "link").symlink_to(root.parent / "elsewhere" / "b" / "file")
    with pytest.raises(IntegrityError, match="is a link"):
        open_file(root, ("a", "b", "link"))


def test_a_fifo_is_refused_and_does_not_block(root: Path) -> None:
    os.mkfifo(root / "a" / "fifo")
    with pytest.raises(IntegrityError):
        open_file(root, ("a", "fifo"))


def test_a_directory_is_no_file_and_a_file_no_directory(root: Path) -> None:
    with pytest.raises(IntegrityError):
        open_file(root, ("a", "b"))
    with pytest.raises(IntegrityError):
        list_directory(root, ("a", "b", "file"))


def test_no_descriptor_is_left_open(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "elsewhere")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts descriptors
    for parts in (("a", "b", "none"), ("link", "b", "file"), ("a", "b")):
        with pytest.raises((FileNotFoundError, IntegrityError)):
            open_file(root, parts)
    list_directory(root, ("a", "b"))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - counts descriptors
