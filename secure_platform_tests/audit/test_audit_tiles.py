"""The export is read here with the C2SP specification in hand, not with the code that wrote it."""

import base64
from pathlib import Path

import pytest
from audit_support import KEY, ORIGIN, execute, fill, open_log

from secure_platform.audit.checkpoint import read_checkpoint
from secure_platform.audit.log import AuditLog
from secure_platform.audit.tiles import tile_name
from secure_platform.audit.tree import leaf_hash, node_hash
from secure_platform.errors import IntegrityError

SIZE = 600


def split(content: bytes) -> list[bytes]:
    return [content[i : i + 32] for i in range(0, len(content), 32)]


def bundle(content: bytes) -> list[bytes]:
    entries = []
    while content:
        length = int.from_bytes(content[:2], "big")
        entries.append(content[2 : 2 + length])
        content = content[2 + length :]
    return entries


def merkle(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    return node_hash(merkle(hashes[:half]), merkle(hashes[half:]))


def files(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditLog, Path]:
    directory = tmp_path_factory.mktemp("tiles")
    log = open_log(directory / "audit.db")
    fill(log, SIZE)
    log.export(directory / "export")
    return log, directory / "export"


@pytest.mark.parametrize(
    ("index", "width", "name"),
    [
        (0, 256, "000"),
        (1234067, 256, "x001/x234/067"),
        (273, 112, "273.p/112"),
        (1000, 256, "x001/000"),
        (999, 1, "999.p/1"),
        (1234067, 3, "x001/x234/067.p/3"),
    ],
)
def test_tiles_are_named_as_specified(index: int, width: int, name: str) -> None:
    assert tile_name(index, width) == name


def test_exactly_the_specified_files_exist(exported: tuple[AuditLog, Path]) -> None:
    assert files(exported[1]) == {
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    }


def test_a_reader_with_only_the_export_and_the_key_can_check_everything(
    exported: tuple[AuditLog, Path],
) -> None:
    log, export = exported
    state = read_checkpoint((export / "checkpoint").read_text(), origin=ORIGIN, key=KEY)
    names = ("000", "001", "002.p/88")
    tiles = [split((export / "tile" / "0" / name).read_bytes()) for name in names]
    bundles = [bundle((export / "tile" / "entries" / name).read_bytes()) for name in names]
    leaves = [leaf for tile in tiles for leaf in tile]
    assert state.size == len(leaves) == SIZE
    assert [leaf_hash(entry) for part in bundles for entry in part] == leaves
    assert merkle(leaves) == state.root
    assert split((export / "tile" / "1" / "000.p" / "2").read_bytes()) == [merkle(t) for t in tiles[:2]]
    assert log.verify([(export / "checkpoint").read_text()]).size == SIZE


def test_the_root_follows_from_the_upper_tiles_too(exported: tuple[AuditLog, Path]) -> None:
    export = exported[1]
    upper = split((export / "tile" / "1" / "000.p" / "2").read_bytes())
    rest = merkle(split((export / "tile" / "0" / "002.p" / "88").read_bytes()))
    root = (export / "checkpoint").read_text().split("\n")[2]
    assert base64.b64encode(node_hash(node_hash(*upper), rest)).decode() == root


def test_exporting_again_extends_the_export(tmp_path: Path) -> None:
    log, export = open_log(tmp_path / "audit.db"), tmp_path / "export"
    fill(log, 3)
    log.export(export)
    log.export(export)
    assert files(export) == {"checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"}
    fill(log, 2)
    log.export(export)
    assert "tile/entries/000.p/5" in files(export)
    assert read_checkpoint((export / "checkpoint").read_text(), origin=ORIGIN, key=KEY).size == 5


def test_an_empty_log_exports_its_checkpoint_only(tmp_path: Path) -> None:
    open_log(tmp_path / "audit.db").export(tmp_path / "export")
    assert files(tmp_path / "export") == {"checkpoint"}


def test_an_export_is_a_witness(tmp_path: Path) -> None:
    log, export = open_log(tmp_path / "audit.db"), tmp_path / "export"
    fill(log, 3)
    log.export(export)
    before = {name: (export / name).read_bytes() for name in files(export)}
    fork = open_log(tmp_path / "fork.db")
    fill(fork, 9)
    with pytest.raises(IntegrityError, match="not those of the signed checkpoint"):
        fork.export(export)
    assert {name: (export / name).read_bytes() for name in files(export)} == before


@pytest.mark.parametrize("content", [b"", b"\xff", b"x" * 100])
def test_a_spoilt_checkpoint_in_an_export_is_found(tmp_path: Path, content: bytes) -> None:
    log, export = open_log(tmp_path / "audit.db"), tmp_path / "export"
    log.export(export)
    (export / "checkpoint").write_bytes(content)
    with pytest.raises(IntegrityError):
        log.export(export)


def test_a_changed_tile_in_an_export_is_found(tmp_path: Path) -> None:
    log, export = open_log(tmp_path / "audit.db"), tmp_path / "export"
    fill(log, 3)
    log.export(export)
    (export / "tile" / "entries" / "000.p" / "3").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match="already holds another"):
        log.export(export)


def test_a_tampered_log_is_not_exported(tmp_path: Path) -> None:
    log = open_log(tmp_path / "audit.db")
    fill(log, 8)
    execute(tmp_path / "audit.db", "UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 1")
    with pytest.raises(IntegrityError):
        log.export(tmp_path / "export")
    assert not (tmp_path / "export").exists()
