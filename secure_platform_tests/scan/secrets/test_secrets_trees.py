"""Files, folders and archives: read whole, in bounds, nothing outside, nothing skipped silently."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from secret_samples import sample

from secure_platform.errors import UsageError
from secure_platform.scan.columns import Scanner
from secure_platform.scan.report import Section, Skipped
from secure_platform.scan.secrets import scanner as scanner_module
from secure_platform.scan.secrets.archives import Budget, Entry, entries
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.scanner import SecretScanner
from secure_platform.scan.sources.folders import files
from secure_platform.scan.sources.ignored import Ignored
from secure_platform.scan.sources.inspection import Inspection
from secure_platform.taxonomy.info_types import info_types

SCANNER = SecretScanner(own_rules(), bytes(32))
TOKEN = sample(own_rules().rules["github-pat"]).strip()
TEXT = b"first\n\n  token: " + TOKEN + b"\nlast\n"


INSPECTION = Inspection(Scanner(info_types()), SCANNER, None, bytes(32))


def scanned(root: Path, *, prefix: str = "", ignored: bool = False) -> Section:
    whole = Section()
    for file in files(root, prefix=prefix, ignored=ignored):
        found = Section(skipped=[file]) if isinstance(file, Skipped) else INSPECTION.document(file)
        whole.add(found)
    return whole


def found(root: Path) -> list[str]:
    return [finding.source for finding in scanned(root).findings]


def skipped(root: Path) -> dict[str, str]:
    return {each.source: each.reason for each in scanned(root).skipped}


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return out.getvalue()


def test_a_secret_is_found_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)
    report = scanned(tmp_path, prefix="src/")
    (finding,) = report.findings
    (place,) = finding.spans
    assert (finding.source, place.line, place.column) == ("src/a.txt", 3, 10)
    assert (place.end_line, place.end_column) == (3, 10 + len(TOKEN))
    assert [each.bytes for each in report.scanned] == [len(TEXT)]


def test_one_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)
    (finding,) = scanned(tmp_path / "a.txt", prefix="a.txt").findings
    assert finding.source == "a.txt"
    with pytest.raises(UsageError, match=r"none\.txt"):
        scanned(tmp_path / "none.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_text_is_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(("é\n" + TEXT.decode()).encode(encoding))
    (finding,) = scanned(tmp_path).findings
    assert (finding.spans[0].line, finding.spans[0].column) == (4, 10)


def test_a_secret_across_blocks_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_module, "BLOCK", 1000)
    monkeypatch.setattr(scanner_module, "OVERLAP", 200)
    line = b"x" * 30 + b" " + TOKEN + b"\n"
    (tmp_path / "lines.txt").write_bytes(line * 100)
    (tmp_path / "line.txt").write_bytes(b"y " * 470 + TOKEN + b" y" * 1000)
    report = scanned(tmp_path)
    lines = [each.spans[0].line for each in report.findings if each.source == "lines.txt"]
    assert lines == list(range(1, 101))
    (one,) = [each.spans[0] for each in report.findings if each.source == "line.txt"]
    assert (one.line, one.column) == (1, 941)


def test_what_git_ignores_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\nbuild/\n/top.txt\n", encoding="utf-8")
    for name in ("a.log", "keep.log", "build/a.txt", "top.txt", "sub/top.txt", "sub/build/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(TEXT)
    assert found(tmp_path) == ["keep.log", "sub/top.txt"]
    assert len(scanned(tmp_path, ignored=True).findings) == 6


def test_many_lines_are_one_search_and_a_line_that_is_no_pattern_takes_none_with_it() -> None:
    lines = [*(f"*x{place}y" for place in range(300)), "[z-a]", "[\\]", "a[bc]\\*", "dir/", "!keep*", "keep1"]
    ignored = Ignored.parse("", "\n".join(lines))
    assert len(ignored.globs) < 30
    said = {
        path: ignored.decision(path, is_folder=False)
        for path in ("sub/1x299y", "ab*", "abc", "keep1", "keep2", "dir", "z", "b")
    }
    assert said == {
        "sub/1x299y": True,
        "ab*": True,
        "abc": None,
        "keep1": True,
        "keep2": False,
        "dir": None,
        "z": None,
        "b": None,
    }
    assert ignored.decision("dir", is_folder=True) is True


def test_lines_beyond_any_list_ignore_nothing() -> None:
    ignored = Ignored.parse("", "\n".join(f"{'!' * (place % 2)}f{place}" for place in range(20_000)))
    assert len(ignored.globs) <= 10_000
    assert ignored.decision("f0", is_folder=False) is True
    assert ignored.decision("f19998", is_folder=False) is None


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "target.txt").write_bytes(TEXT)
    (tmp_path / "link.txt").symlink_to("target.txt")
    (tmp_path / "picture.bin").write_bytes(b"\x89PNG\0\0" + TEXT)
    os.mkfifo(tmp_path / "pipe")
    assert skipped(tmp_path) == {
        "link.txt": "a link",
        "picture.bin": "binary",
        "pipe": "not a regular file",
    }


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "a.zip": lambda data: zipped({"x/y.txt": data}),
    "a.docx": lambda data: zipped({"word/document.xml": data}),
    "a.tar": lambda data: tarred({"x/y.txt": data}),
    "a.gz": gzip.compress,
    "a.bz2": bz2.compress,
    "a.xz": lzma.compress,
    "a.tar.gz": lambda data: gzip.compress(tarred({"x.txt": data})),
    "a.whl": lambda data: zipped({"inner.zip": zipped({"x.txt": data})}),
}


@pytest.mark.parametrize("name", PACKED)
def test_archives_are_read_as_if_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PACKED[name](TEXT))
    (finding,) = scanned(tmp_path).findings
    assert finding.source.startswith(name)
    assert finding.spans[0].line == 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


def taken(data: bytes, budget: Budget) -> tuple[int, list[Entry]]:
    listed = []
    size = 0
    for entry in entries(io.BytesIO(data), "bomb", budget):
        size += len(entry.stream.read()) if entry.stream else 0
        listed.append(entry)
    return size, listed


MEGABYTE = bytes(1 << 20)
BOMBS: dict[str, Callable[[], bytes]] = {
    "one large member": lambda: zipped({"a": MEGABYTE * 8}),
    "many members": lambda: zipped({str(n): b"x" for n in range(300)}),
    "many large members": lambda: zipped({str(n): MEGABYTE for n in range(8)}),
    "gzip": lambda: gzip.compress(MEGABYTE * 8),
    "bzip2": lambda: bz2.compress(MEGABYTE * 8),
    "xz": lambda: lzma.compress(MEGABYTE * 8),
    "gzip in gzip": lambda: gzip.compress(gzip.compress(MEGABYTE * 8)),
    "zip of zips": lambda: zipped({str(n): zipped({"a": MEGABYTE * 2}) for n in range(4)}),
    "tar in gzip": lambda: gzip.compress(tarred({str(n): MEGABYTE for n in range(8)})),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_not_unpacked_beyond_its_budget(bomb: str) -> None:
    size, listed = taken(BOMBS[bomb](), Budget(bytes=4 << 20, members=200))
    assert size <= 4 << 20
    assert len(listed) <= 201
    assert "the archive holds more than is read" in {entry.why for entry in listed}


def test_archives_in_archives_end_somewhere() -> None:
    data = TEXT
    for _ in range(5):
        data = zipped({"inner": data})
    _, (entry,) = taken(data, Budget())
    assert entry.stream is None
    assert entry.path == "bomb!/inner!/inner!/inner"
    assert entry.why == "archives too deep in each other"


def test_the_list_of_members_is_not_read_when_it_is_enormous() -> None:
    data = bytearray(zipped({"a": b"x"}))
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = struct.pack("<I", 1 << 30)
    _, (entry,) = taken(bytes(data), Budget())
    assert entry.why == "the archive holds more than is read"


@pytest.mark.parametrize("name", PACKED)
def test_a_broken_archive_is_told_and_ends_nothing(tmp_path: Path, name: str) -> None:
    whole = PACKED[name](TEXT * 50)
    for cut in range(20, len(whole), max(1, len(whole) // 25)):
        broken = whole[:cut] + bytes(8) + whole[cut + 8 :]
        list(entries(io.BytesIO(broken), name, Budget()))
        list(entries(io.BytesIO(whole[:cut]), name, Budget()))
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "z.txt").write_bytes(TEXT)
    assert "z.txt" in found(tmp_path)


def test_an_encrypted_member_is_told() -> None:
    data = bytearray(zipped({"a.txt": TEXT}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + offset] |= 1
    _, (entry,) = taken(bytes(data), Budget())
    assert (entry.path, entry.why) == ("bomb!/a.txt", "encrypted")
