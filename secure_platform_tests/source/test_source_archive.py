"""A zip file in place of a folder: members by exact name, and no archive that could deceive an unpacker."""

import dataclasses
import hashlib
import io
import os
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_support import outcome

from secure_platform.contract.model import Column, Contract
from secure_platform.errors import DataRefusedError
from secure_platform.source import stream
from secure_platform.source.dataset import Source, is_source_place, open_source
from secure_platform.taxonomy.classification import Classification

METHOD = zipfile.ZIP_DEFLATED
BODY = b"a,b\n" + b"".join(b"%d,value %d\n" % (i, i) for i in range(5_000))
CONTRACT = Contract(
    dataset="d",
    version="1.0.0",
    description="",
    owner="team:x",
    columns=(Column("a", "string", "", Classification.INTERNAL),),
    source_file="d.csv",
    digest="",
)

Files = list[tuple[str | zipfile.ZipInfo, bytes]]


def pack(path: Path, files: Files, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)  # Duplicate names are the point.
        for name, content in files:
            archive.writestr(name, content)
    return path


def rows(source: Source) -> int:
    return sum(batch.frame.height for batch in source.batches())


def refusal(path: Path) -> str:
    before = sorted(path.parent.iterdir())
    with pytest.raises(DataRefusedError) as caught:
        rows(open_source(path, CONTRACT))
    assert caught.value.__cause__ is None
    assert path.name in str(caught.value)
    assert sorted(path.parent.iterdir()) == before
    return str(caught.value)


@pytest.mark.parametrize("folder", ["", "csv/", "output/csv/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_read_like_the_file_in_a_folder(tmp_path: Path, folder: str, method: int) -> None:
    (tmp_path / "d.csv").write_bytes(BODY)
    declared = dataclasses.replace(CONTRACT, source_file="csv/d.csv" if folder == "output/csv/" else "d.csv")
    files: Files = [(f"{folder}d.csv", BODY), (f"{folder}e.csv", b"x\n"), ("__MACOSX/._d.csv", b"x")]
    packed = open_source(pack(tmp_path / "d.zip", files, method), declared)
    plain = open_source(tmp_path, CONTRACT)
    assert packed.header == plain.header
    assert packed.fingerprint() == plain.fingerprint() == f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    for ours, theirs in zip(packed.batches(), plain.batches(), strict=True):
        assert ours.frame.equals(theirs.frame)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "d.zip"]


def test_only_the_exact_name_is_found(tmp_path: Path) -> None:
    for number, name in enumerate(["D.csv", "d.csv.bak", "xd.csv", "d.csv/e", "d.CSV"]):
        assert "no source file" in refusal(pack(tmp_path / f"{number}.zip", [(name, BODY), ("e/f", b"")]))
    assert "no source file" in refusal(pack(tmp_path / "two.zip", [("x/d.csv", BODY), ("y/d.csv", BODY)]))


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


GOOD: Files = [("d.csv", BODY)]
HOSTILE: dict[str, tuple[Files, str]] = {
    "zip slip": ([("../d.csv", BODY)], "leads elsewhere"),
    "zip slip within": ([("a/../../d.csv", BODY)], "leads elsewhere"),
    "absolute": ([("/etc/d.csv", BODY)], "leads elsewhere"),
    "dot": ([("./d.csv", BODY)], "leads elsewhere"),
    "doubled slash": ([("a//d.csv", BODY)], "leads elsewhere"),
    "backslash": ([("..\\d.csv", BODY)], "leads elsewhere"),
    "drive": ([("C:d.csv", BODY)], "leads elsewhere"),
    "drive and path": ([("C:/d.csv", BODY)], "leads elsewhere"),
    "control character": ([("d\x1b[2J.csv", BODY)], "leads elsewhere"),
    "bidi": ([("d\u202evsc.exe", BODY)], "leads elsewhere"),
    "symbolic link": ([(link("d.csv"), b"/etc/passwd")], "a link or a device"),
    "another link": ([(link("e.csv"), b"/etc/passwd")], "a link or a device"),
    "twice": ([("d.csv", b"a\n1\n")], "two files of one name"),
    "case": ([("D.CSV", b"a\n1\n")], "two files of one name"),
    "composed": ([("é.csv", b""), ("e\u0301.csv", b"")], "two files of one name"),
    "full width": ([("\uff44.csv", b"")], "two files of one name"),
    "nested": ([("more.zip", b"PK")], "an archive"),
    "nested gzip": ([("d.csv.gz", b"")], "an archive"),
    "bzip2": ([], "unusual way"),
    "lzma": ([], "unusual way"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_could_deceive_is_refused(tmp_path: Path, name: str) -> None:
    files, words = HOSTILE[name]
    method = {"bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}.get(name, zipfile.ZIP_DEFLATED)
    assert words in refusal(pack(tmp_path / "d.zip", [*GOOD, *files], method))


def directory_at(content: bytes) -> int:
    return struct.unpack("<L", content[-6:-2])[0]  # type: ignore[no-any-return]


def changed(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    """Overwrite a part of the first entry of the directory."""

    def change(content: bytes) -> bytes:
        place = directory_at(content) + offset
        return content[:place] + value + content[place + len(value) :]

    return change


def in_header(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    """Overwrite a part of the first member's own header."""
    return lambda content: content[:offset] + value + content[offset + len(value) :]


def between(content: bytes) -> bytes:
    """More bytes behind the last member than a checksum and sizes need."""
    at = directory_at(content)
    return content[:at] + b"x" * 25 + content[at:-6] + struct.pack("<L", at + 25) + content[-2:]


def both_names(content: bytes) -> bytes:
    """A name that ends at a NUL for some."""
    return content.replace(b"d.csvx", b"d.csv\0")


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda z: z[:-10], "not a whole zip file"),
    "comment": (lambda z: z[:-2] + b"\x04\0" + b"PK\5\6", "not a whole zip file"),
    "behind": (lambda z: z + b"x", "not a whole zip file"),
    "no zip": (lambda _: BODY, "not a whole zip file"),
    "empty": (lambda _: b"", "not a whole zip file"),
    "encrypted": (changed(8, b"\x01\0"), "an encrypted file"),
    "smaller than it says": (changed(24, (len(BODY) + 9).to_bytes(4, "little")), "not a whole zip file"),
    "larger than it says": (changed(24, (len(BODY) - 9).to_bytes(4, "little")), "not a whole zip file"),
    "another checksum": (changed(16, b"abcd"), "not a whole zip file"),
    "far too large": (changed(24, b"\xff\xff\xff\xf0"), "far more than its size allows"),
    "beyond the file": (changed(20, b"\xff\xff\xff\x0f"), "overlap"),
    "elsewhere": (changed(42, b"\x09\0\0\0"), "contradicts the directory"),
    "other flags": (changed(8, b"\x02\0"), "contradicts the directory"),
    "other flags in its header": (in_header(6, b"\x01\0"), "contradicts the directory"),
    "another method in its header": (in_header(8, b"\0\0"), "contradicts the directory"),
    "another name in its header": (in_header(30, b"e"), "contradicts the directory"),
    "no header": (in_header(0, b"PK\1\2"), "contradicts the directory"),
    "before": (lambda z: b"junk" + z, "belong to none of its files"),
    "two archives": (lambda z: z + z, "belong to none of its files"),
    "between": (between, "belong to none of its files"),
    "directory too long": (lambda z: z[:-10] + b"\xff\xff\xff\x00" + z[-6:], "more than 1,000 files"),
    "many": (lambda z: z[:-14] + b"\xff\xff\xff\xff" + z[-10:], "more than 1,000 files"),
    "flipped": (lambda z: z[:200] + bytes([z[200] ^ 0x55]) + z[201:], "not a whole zip file"),
    "NUL in a name": (both_names, "leads elsewhere"),
    "64 bits": (
        lambda z: z[:-22] + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + z[-22:],
        "more than 4 GiB",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_lying_or_damaged_archive_is_refused(tmp_path: Path, name: str) -> None:
    change, words = DAMAGED[name]
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("d.csv", BODY)
        if name == "NUL in a name":
            archive.writestr("d.csvx", b"a\n1\n")
    (tmp_path / "d.zip").write_bytes(change(sink.getvalue()))
    assert words in refusal(tmp_path / "d.zip")


def member(name: str, packed: bytes, size: int, checksum: int, extra: bytes = b"") -> bytes:
    head = struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, 0, METHOD, 0, 33, checksum, len(packed), size, len(name), len(extra)
    )
    return head + name.encode() + extra + packed


def directory(entries: list[tuple[str, int, int, int, int, bytes]], at: int) -> bytes:
    """The directory of name, place, packed size, size, checksum and extra fields, and its end."""
    body = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, METHOD, 0, 33, checksum, packed, size, len(name),
                    len(extra), 0, 0, 0, 0, place) + name.encode() + extra
        for name, place, packed, size, checksum, extra in entries
    )  # fmt: skip
    return body + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(body), at, 0)


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("promised", [8, len(BODY) - 9])
def test_a_member_that_goes_on_after_what_it_promises_is_refused(
    tmp_path: Path, promised: int, beyond: int
) -> None:
    """Its checksum is right for the promised beginning, or for one byte more."""
    path, packed = tmp_path / "d.zip", deflated(BODY)

    def write(size: int, checksum: int) -> None:
        body = member("d.csv", packed, size, checksum)
        entry = ("d.csv", 0, len(packed), size, checksum, b"")
        path.write_bytes(body + directory([entry], len(body)))

    write(len(BODY), zlib.crc32(BODY))
    assert rows(open_source(path, CONTRACT)) == 5_000
    write(promised, zlib.crc32(BODY[: promised + beyond]))
    assert "not a whole zip file" in refusal(path)


@pytest.mark.parametrize("in_directory", [True, False])
def test_a_second_name_is_refused(tmp_path: Path, *, in_directory: bool) -> None:
    other, packed, checksum = b"../d.csv", deflated(BODY), zlib.crc32(BODY)
    unicode_path = struct.pack("<2HBL", 0x7075, 5 + len(other), 1, zlib.crc32(b"d.csv")) + other
    timestamp = struct.pack("<2HBL", 0x5455, 5, 1, 0x70757075)
    body = member(
        "d.csv", packed, len(BODY), checksum, timestamp if in_directory else timestamp + unicode_path
    )
    for extra, accepted in ((timestamp, in_directory), (timestamp + unicode_path, False)):
        entry = ("d.csv", 0, len(packed), len(BODY), checksum, extra)
        (tmp_path / "d.zip").write_bytes(body + directory([entry], len(body)))
        if accepted:
            assert rows(open_source(tmp_path / "d.zip", CONTRACT)) == 5_000
        else:
            assert "second name" in refusal(tmp_path / "d.zip")


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """The second lies in the first, header and all."""
    checksum, packed = zlib.crc32(BODY), deflated(BODY)
    inner = member("e.csv", packed, len(BODY), checksum)
    body = member("d.csv", inner, len(BODY), checksum)
    entries = [
        ("d.csv", 0, len(inner), len(BODY), checksum, b""),
        ("e.csv", len(body) - len(inner), len(packed), len(BODY), checksum, b""),
    ]
    (tmp_path / "d.zip").write_bytes(body + directory(entries, len(body)))
    assert "overlap" in refusal(tmp_path / "d.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_was_written_into_a_pipe_is_read(tmp_path: Path, method: int) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    sink = Pipe()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name in ("d.csv", "e.csv"):
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(BODY)
    (tmp_path / "d.zip").write_bytes(sink.getvalue())
    assert rows(open_source(tmp_path / "d.zip", CONTRACT)) == 5_000


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ALWAYS_ALLOWED", 1 << 20)
    assert rows(open_source(pack(tmp_path / "good.zip", GOOD), CONTRACT)) == 5_000
    assert "far more than its size" in refusal(pack(tmp_path / "d.zip", [("d.csv", b"1\n" * (1 << 20))]))


@pytest.mark.slow
def test_a_million_members_cost_no_memory(tmp_path: Path) -> None:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    with (tmp_path / "d.zip").open("wb") as file:
        for start in range(0, 1_000_000, 10_000):
            file.write(b"".join(entry + b"%07d" % number for number in range(start, start + 10_000)))
        size = file.tell()
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1_000, 1_000, size, 0, 0))
    met = outcome(tmp_path / "d.zip")
    assert "more than 1,000 files" in (met.error or "")
    assert met.grown < 64 << 20


def test_only_a_regular_file_is_an_archive(tmp_path: Path) -> None:
    pack(tmp_path / "d.zip", GOOD)
    (tmp_path / "link.zip").symlink_to("d.zip")
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "folder.zip" / "d.csv").write_bytes(BODY)
    assert "cannot be opened" in refusal(tmp_path / "link.zip")
    assert "not a regular file" in refusal(tmp_path / "pipe.zip")
    assert rows(open_source(tmp_path / "folder.zip", CONTRACT)) == 5_000
    assert [is_source_place(tmp_path / name) for name in ("d.zip", "folder.zip", "pipe.zip", "none.zip")] == [
        True,
        True,
        False,
        False,
    ]


def test_an_archive_that_changes_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "d.zip", GOOD)
    source = open_source(path, CONTRACT)
    pack(path, [("d.csv", BODY + b"1,2\n")])
    with pytest.raises(DataRefusedError, match="changed while it was read"):
        rows(source)
    with pytest.raises(DataRefusedError, match="changed while it was read"):
        source.fingerprint()
