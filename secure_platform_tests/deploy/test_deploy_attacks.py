"""Somebody who can write into the warehouse folder, and in some cases holds keys, against the readers."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from deploy_support import Home, new_home, open_home

from secure_platform import canonical
from secure_platform.deploy.pointer import Pointer, seal, unseal
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.files import file_sha256
from secure_platform.store.duckdb import connect


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases 1 and 2 were deployed one after the other; 3 and 4 wait; `old` is how it was after 1."""
    home = new_home(tmp_path_factory.mktemp("attacks") / "home")
    digests = [home.release(number) for number in (1, 2, 3, 4)]
    home.publish(1, None)
    home.audit.close()
    for part in ("warehouse", "audit.db", "audit.db-wal", "audit.db-shm"):
        source = home.root / part
        if source.is_dir():
            shutil.copytree(source, home.root / "old" / part)
        elif source.exists():
            shutil.copyfile(source, home.root / "old" / part)
    home.publish(2, digests[0])
    return home.root


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Home:
    return open_home(shutil.copytree(template, tmp_path / "home"))


def old(home: Home) -> Path:
    return home.root / "old/warehouse/healthcare"


def database(home: Home, number: int = 2) -> Path:
    return next(home.warehouse.glob(f"{number}-*.duckdb"))


def refused(home: Home, culprit: str) -> None:
    """Nobody is told that production is fine, nobody reads it, and nobody builds upon it."""
    with pytest.raises(IntegrityError, match=culprit):
        home.target.current("healthcare")
    with pytest.raises(IntegrityError, match=culprit):
        home.target.query("healthcare", "SELECT 1", limit=1, actor="a")
    with home.verified(2) as release, pytest.raises(IntegrityError, match=culprit):
        home.target.verify("healthcare", release.manifest)


def refused_pointer(home: Home, culprit: str) -> None:
    refused(home, culprit)
    with pytest.raises(IntegrityError, match=culprit):
        home.target.base("healthcare")
    with pytest.raises(IntegrityError, match=culprit):
        home.publish(3, home.digest(2))
    with pytest.raises(IntegrityError, match=culprit):
        home.rollback(1, home.digest(2))


def reseal(home: Home, **members: object) -> None:
    """A pointer under our own keys that says something else."""
    path = home.warehouse / "CURRENT"
    pointer = unseal(path.read_bytes(), home.keys, "healthcare")
    path.write_bytes(seal(Pointer.model_validate(pointer.model_dump() | members), home.keys))


def test_every_flipped_bit_of_the_pointer_is_refused(home: Home) -> None:
    path = home.warehouse / "CURRENT"
    original = path.read_bytes()
    for offset in range(0, len(original), 7):
        flipped = bytearray(original)
        flipped[offset] ^= 1 << (offset % 8)
        path.write_bytes(flipped)
        with pytest.raises(IntegrityError):
            home.target.base("healthcare")
    path.write_bytes(original)
    assert home.target.base("healthcare") == home.digest(2)


def test_a_pointer_cut_at_any_byte_is_refused(home: Home) -> None:
    original = (home.warehouse / "CURRENT").read_bytes()
    assert unseal(original, home.keys, "healthcare").number == 2
    for length in range(len(original)):
        with pytest.raises(IntegrityError, match="pointer of healthcare is not a strict JSON document"):
            unseal(original[:length], home.keys, "healthcare")


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"[]",
        lambda _: b"null",
        lambda d: d[:-1],
        lambda d: d + b"\n",
        lambda d: json.dumps(json.loads(d)).encode(),
        lambda d: d.replace(b'{"mac":', b'{"mac":"m1:0","mac":', 1),
        lambda d: d.replace(b'"signature":', b'"more":1,"signature":', 1),
        lambda d: d.replace(b'"sig":"', b'"sig":"!', 1),
        lambda _: b" " * (2 << 20),
    ],
)
def test_a_malformed_pointer_is_refused(home: Home, change: Callable[[bytes], bytes]) -> None:
    path = home.warehouse / "CURRENT"
    path.write_bytes(change(path.read_bytes()))
    refused_pointer(home, "production pointer of healthcare")


def test_mac_and_signature_are_both_required(home: Home) -> None:
    path = home.warehouse / "CURRENT"
    document = json.loads(path.read_bytes())
    before = json.loads((home.warehouse / "history/000000001.json").read_bytes())
    for stolen, culprit in (("mac", "does not have our MAC"), ("signature", "signature does not fit")):
        path.write_bytes(canonical.dumps(document | {stolen: before[stolen]}))
        refused_pointer(home, culprit)


def test_a_pointer_of_another_product_is_refused(home: Home) -> None:
    finance = home.root / "warehouse/finance"
    shutil.copytree(home.warehouse, finance)
    with pytest.raises(IntegrityError, match="belongs to another product"):
        home.target.base("finance")


@pytest.mark.parametrize(
    "member", [{"file": "../2-000000000000.duckdb"}, {"sequence": 0}, {"rows": {"a": -1}}]
)
def test_a_sealed_pointer_with_impossible_members_is_refused(home: Home, member: dict[str, object]) -> None:
    pointer = unseal((home.warehouse / "CURRENT").read_bytes(), home.keys, "healthcare")
    document = seal(pointer.model_copy(update=member), home.keys)
    (home.warehouse / "CURRENT").write_bytes(document)
    refused_pointer(home, "malformed")


def test_an_old_pointer_that_is_put_back_is_refused(home: Home) -> None:
    shutil.copyfile(old(home) / "CURRENT", home.warehouse / "CURRENT")
    refused_pointer(home, "not in the state that the audit log records last")


def test_an_old_warehouse_that_is_put_back_is_refused(home: Home) -> None:
    shutil.rmtree(home.warehouse)
    shutil.copytree(old(home), home.warehouse)
    refused_pointer(home, "not in the state that the audit log records last")


def test_a_pointer_that_was_put_back_after_a_rollback_is_refused(home: Home) -> None:
    before = (home.warehouse / "CURRENT").read_bytes()
    home.rollback(1, home.digest(2))
    (home.warehouse / "CURRENT").write_bytes(before)
    refused_pointer(home, "not in the state that the audit log records last")


@pytest.mark.parametrize("what", ["CURRENT", "."])
def test_production_that_vanished_is_not_taken_for_a_fresh_start(home: Home, what: str) -> None:
    path = home.warehouse / what
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(IntegrityError, match="not in the state"):
        home.target.current("healthcare")
    with pytest.raises(IntegrityError, match="not in the state"):
        home.publish(3, None)


def test_an_audit_log_that_was_put_back_is_refused(home: Home) -> None:
    for part in ("audit.db", "audit.db-wal", "audit.db-shm"):
        (home.root / part).unlink(missing_ok=True)
        if (home.root / "old" / part).exists():
            shutil.copyfile(home.root / "old" / part, home.root / part)
    refused_pointer(open_home(home.root), "audit log is not the one")


def test_a_pointer_that_was_prepared_but_replaced_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Release 3 was about to go live when its process died; release 4 went live instead, with its number."""
    real = Path.replace

    def die(path: Path, target: Path) -> Path:
        if target.name == "CURRENT":
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            home.publish(3, home.digest(2))
    prepared = (home.warehouse / "history/000000003.json").read_bytes()
    file = database(home, 3).read_bytes()
    name = database(home, 3).name
    assert [state.number for state in home.target.history("healthcare")] == [2, 1]
    with pytest.raises(GateRefusedError, match="never in production"):
        home.rollback(3, home.digest(2))
    home.publish(4, home.digest(2))
    (home.warehouse / name).write_bytes(file)
    (home.warehouse / "CURRENT").write_bytes(prepared)
    refused_pointer(home, "not in the state that the audit log records last")


def test_a_flipped_bit_of_the_database_is_refused_and_repaired(home: Home) -> None:
    path = database(home)
    original = path.read_bytes()
    for offset in (0, 4_096, len(original) // 2, len(original) - 1):
        flipped = bytearray(original)
        flipped[offset] ^= 4
        path.write_bytes(flipped)
        refused(home, "was changed")
    repaired = home.publish(2, home.digest(1))
    assert (repaired.sequence, repaired.previous) == (3, home.digest(1))
    with home.verified(2) as release:
        home.target.verify("healthcare", release.manifest)


@pytest.mark.parametrize(
    ("attack", "culprit"),
    [
        (lambda home: database(home).unlink(), "is missing"),
        (lambda home: database(home, 1).replace(database(home)), "was changed"),
        (lambda home: _link(database(home)), "link"),
        (lambda home: _pipe(database(home)), "link"),
        (lambda home: database(home).with_name(f"{database(home).name}.wal").touch(), "write-ahead log"),
        (
            lambda home: database(home).with_name(f"{database(home).name}.wal").symlink_to("/x"),
            "write-ahead log",
        ),
    ],
)
def test_an_exchanged_database_is_refused(home: Home, attack: Callable[[Home], object], culprit: str) -> None:
    attack(home)
    refused(home, culprit)


def _link(path: Path) -> None:
    path.rename(path.with_name("kept"))
    path.symlink_to("kept")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["CURRENT", "history/000000001.json"])
def test_a_linked_pointer_is_refused(home: Home, name: str) -> None:
    _link(home.warehouse / name)
    with pytest.raises(IntegrityError, match="link"):
        home.target.history("healthcare")


def test_records_of_the_history_cannot_change_places(home: Home) -> None:
    history = home.warehouse / "history"
    shutil.copyfile(history / "000000001.json", history / "000000002.json")
    with pytest.raises(IntegrityError, match="in another's place"):
        home.target.history("healthcare")


ROWS, COLUMNS, TABLES = "holds other rows", "has other columns", "exactly the released tables"


@pytest.mark.parametrize(
    ("statement", "culprit"),
    [
        ("UPDATE counts SET rows = rows + 1", ROWS),
        ("UPDATE patients SET token = NULL WHERE rowid = 0", ROWS),
        ("DELETE FROM patients WHERE rowid = 11", ROWS),
        ("INSERT INTO patients SELECT token FROM patients LIMIT 1", ROWS),
        ("CREATE OR REPLACE TABLE patients AS SELECT * FROM patients ORDER BY rowid DESC", ROWS),
        ("ALTER TABLE patients ADD COLUMN more VARCHAR", COLUMNS),
        ("ALTER TABLE patients RENAME COLUMN token TO name", COLUMNS),
        ("ALTER TABLE counts ALTER rows TYPE INTEGER", COLUMNS),
        ("DROP TABLE patients", TABLES),
        ("CREATE TABLE more AS SELECT 1 AS n", TABLES),
        ("CREATE VIEW more AS SELECT * FROM patients", TABLES),
        ("CREATE SCHEMA s; CREATE TABLE s.patients AS SELECT * FROM patients", TABLES),
    ],
)
def test_a_changed_database_under_our_own_seal_does_not_match_its_release(
    home: Home, statement: str, culprit: str
) -> None:
    path = database(home)
    pointer = unseal((home.warehouse / "CURRENT").read_bytes(), home.keys, "healthcare")
    context = {"purpose": "production", "product": "healthcare", "release": pointer.release}
    key = home.keys.open_data_key(pointer.wrapped_key, context)
    with closing(connect(path, key, read_only=False, temp_directory=home.root / "tmp")) as session:
        session.execute(statement)
    begun = home.audit.append("deploy.forge", actor="a", subject="healthcare")
    reseal(home, file_digest=file_sha256(path), sequence=3, audit_seq=begun.seq, audit_leaf=begun.leaf.hex())
    with home.verified(2) as release, pytest.raises(IntegrityError, match=culprit):
        home.target.verify("healthcare", release.manifest)


def test_another_release_does_not_match_production(home: Home) -> None:
    with home.verified(1) as release, pytest.raises(IntegrityError, match="holds another release"):
        home.target.verify("healthcare", release.manifest)
