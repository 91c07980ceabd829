"""Every way of changing a stored log is found, and nothing is found in one that was left alone."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from audit_support import KEY, ORIGIN, SoftwareSigner, execute, fill, open_log

from secure_platform.audit.checkpoint import Checkpoint
from secure_platform.audit.log import AuditLog
from secure_platform.audit.proof import InclusionProof, verify_consistency
from secure_platform.audit.tree import grow, leaf_hash
from secure_platform.canonical import dumps
from secure_platform.errors import IntegrityError, UsageError

Members = list[dict[str, object]]
ENTRIES = 13
CHECKPOINT_AT = 9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
def log(path: Path) -> AuditLog:
    return open_log(path)


@pytest.fixture
def kept(log: AuditLog) -> str:
    """A log of 13 entries; the checkpoint of its first 9 is kept outside and not in its file."""
    fill(log, CHECKPOINT_AT)
    note = log.checkpoint()
    fill(log, ENTRIES - CHECKPOINT_AT)
    return note


def rebuild(path: Path, change: Callable[[Members], object]) -> None:
    """Rewrite the whole log consistently, as its owner could: entries, numbers, all nodes, no checkpoints."""
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = connection.execute("SELECT body FROM entry ORDER BY seq").fetchall()
        members = [json.loads(row[0]) for row in rows]
        change(members)
        nodes: dict[tuple[int, int], bytes] = {}
        for table in ("entry", "node", "checkpoint"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
        for seq, member in enumerate(members):
            body = dumps({**member, "seq": seq})
            connection.execute("INSERT INTO entry VALUES (?, ?)", (seq, body))
            for level, index, digest in grow(seq, leaf_hash(body), lambda lv, ix: nodes[lv, ix]):
                nodes[level, index] = digest
        connection.executemany("INSERT INTO node VALUES (?, ?, ?)", [(*k, v) for k, v in nodes.items()])


def test_an_untouched_log_verifies(log: AuditLog, kept: str) -> None:
    report = log.verify([kept, log.checkpoint()])
    assert report.size == ENTRIES
    assert report.checkpoints == (CHECKPOINT_AT, ENTRIES)
    assert report.unfinished == ()


def test_an_empty_log_verifies_and_has_a_checkpoint(log: AuditLog) -> None:
    empty = log.checkpoint()
    assert log.verify([empty]).size == 0
    fill(log, 2)
    assert log.verify([empty]).checkpoints == (0,)


def test_effects_without_outcome_are_reported(log: AuditLog) -> None:
    log.append("a.b", actor="a", subject="s", phase="intent")
    with log.effect("a.b", actor="a", subject="s"):
        pass
    assert log.verify().unfinished == (0,)


EDIT = "UPDATE entry SET body = CAST(replace(body, 'patients', 'people') AS BLOB) WHERE seq = {}"
# What somebody with the file can do without knowing how the tree is made.
CRUDE = {
    "edited body": [EDIT.format(4)],
    "edited last body": [EDIT.format(12)],
    "emptied body": ["UPDATE entry SET body = x'' WHERE seq = 4"],
    "deleted first": ["DELETE FROM entry WHERE seq = 0"],
    "deleted middle": ["DELETE FROM entry WHERE seq = 4"],
    "deleted last": ["DELETE FROM entry WHERE seq = 12"],
    "deleted all": ["DELETE FROM entry"],
    "deleted and renumbered": [
        "DELETE FROM entry WHERE seq = 4",
        "UPDATE entry SET seq = seq - 1 WHERE seq > 4",
    ],
    "swapped": [
        "UPDATE entry SET seq = -1 WHERE seq = 4",
        "UPDATE entry SET seq = 4 WHERE seq = 5",
        "UPDATE entry SET seq = 5 WHERE seq = -1",
    ],
    "duplicated at the end": ["INSERT INTO entry SELECT 13, body FROM entry WHERE seq = 12"],
    "inserted before the first": ["INSERT INTO entry SELECT -1, body FROM entry WHERE seq = 0"],
    "rewritten leaf": ["UPDATE node SET hash = zeroblob(32) WHERE level = 0 AND idx = 4"],
    "rewritten node that proofs do not use": [
        "UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 2"
    ],
    "rewritten top node": ["UPDATE node SET hash = zeroblob(32) WHERE level = 3 AND idx = 0"],
    "shortened node": ["UPDATE node SET hash = substr(hash, 1, 31) WHERE level = 2 AND idx = 1"],
    "deleted node": ["DELETE FROM node WHERE level = 1 AND idx = 2"],
    "moved node": ["UPDATE node SET idx = 99 WHERE level = 1 AND idx = 2"],
    "added node": ["INSERT INTO node VALUES (9, 0, zeroblob(32))"],
    "added node on a level below": ["INSERT INTO node VALUES (-1, 0, zeroblob(32))"],
    "swapped nodes": [
        "UPDATE node SET idx = -1 WHERE level = 0 AND idx = 4",
        "UPDATE node SET idx = 4 WHERE level = 0 AND idx = 5",
        "UPDATE node SET idx = 5 WHERE level = 0 AND idx = -1",
    ],
    "edited stored checkpoint": [
        "UPDATE checkpoint SET note = replace(note, char(10) || '9' || char(10), char(10) || '7' || char(10))"
    ],
    "renumbered stored checkpoint": ["UPDATE checkpoint SET size = 8"],
}


@pytest.mark.parametrize("statements", CRUDE.values(), ids=CRUDE.keys())
@pytest.mark.usefixtures("kept")
def test_tampering_is_found_without_any_kept_checkpoint(
    log: AuditLog, path: Path, statements: list[str]
) -> None:
    execute(path, *statements)
    with pytest.raises(IntegrityError) as found:
        log.verify()
    assert "alice" not in str(found.value)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM entry WHERE seq = 4", "Audit entry 4 is missing"),
        (EDIT.format(4), "Audit entry 4 does not match"),
        ("UPDATE node SET hash = x'00' WHERE level = 1 AND idx = 3", "Node 1/3 of the audit log does not"),
        ("DELETE FROM entry WHERE seq = 12", "stores 23 hashes where 12 entries have 22"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_the_problem_is_named(log: AuditLog, path: Path, statement: str, problem: str) -> None:
    execute(path, statement)
    with pytest.raises(IntegrityError, match=problem):
        log.verify()


# What somebody who understands the tree can do; only a checkpoint kept elsewhere shows it.
SKILLED: dict[str, Callable[[Members], object]] = {
    "edited": lambda members: members[4].update(subject="healthcare/raw/other"),
    "deleted": lambda members: members.pop(4),
    "swapped": lambda members: members.insert(4, members.pop(5)),
    "inserted": lambda members: members.insert(4, dict(members[4])),
    "cut off": lambda members: members.__delitem__(slice(CHECKPOINT_AT - 1, None)),
    "emptied": lambda members: members.clear(),
}


@pytest.mark.parametrize("change", SKILLED.values(), ids=SKILLED.keys())
def test_a_rewritten_log_is_found_by_a_kept_checkpoint(
    log: AuditLog, path: Path, kept: str, change: Callable[[Members], object]
) -> None:
    rebuild(path, change)
    log.verify()
    with pytest.raises(IntegrityError, match="checkpoint"):
        log.verify([kept])


def test_what_no_kept_checkpoint_covers_can_be_cut_off_unseen(log: AuditLog, path: Path, kept: str) -> None:
    rebuild(path, lambda members: members.__delitem__(slice(CHECKPOINT_AT, None)))
    assert log.verify([kept]).size == CHECKPOINT_AT


def test_an_older_copy_put_back_is_found(log: AuditLog, path: Path) -> None:
    fill(log, 4)
    log.close()
    older = path.read_bytes()
    fill(log, 4)
    note = log.checkpoint()
    log.close()
    path.write_bytes(older)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    again = open_log(path)
    assert again.verify().size == 4
    with pytest.raises(IntegrityError, match="cut off its end, or an older copy"):
        again.verify([note])


def test_a_cut_that_takes_its_hashes_along_needs_a_checkpoint_to_be_found(log: AuditLog, path: Path) -> None:
    fill(log, 3)
    note = log.checkpoint()
    execute(
        path, "DELETE FROM entry WHERE seq = 2", "DELETE FROM node WHERE idx = 2", "DELETE FROM checkpoint"
    )
    assert log.verify().size == 2
    with pytest.raises(IntegrityError, match="a checkpoint covers 3"):
        log.verify([note])


def test_a_shortened_log_is_never_signed_again(log: AuditLog, path: Path) -> None:
    fill(log, 3)
    log.checkpoint()
    execute(path, "DELETE FROM entry WHERE seq = 2", "DELETE FROM node WHERE idx = 2")
    with pytest.raises(IntegrityError, match="no longer begins with the 3 entries"):
        log.checkpoint()


def test_a_rewritten_log_is_never_signed_again(log: AuditLog, path: Path) -> None:
    fill(log, 6)
    log.checkpoint()
    execute(path, "UPDATE node SET hash = zeroblob(32) WHERE level = 2 AND idx = 0")
    with pytest.raises(IntegrityError, match="no longer begins"):
        log.checkpoint()


def test_a_forged_checkpoint_is_refused(log: AuditLog, kept: str) -> None:
    text = Checkpoint(ORIGIN, ENTRIES, log.verify([kept]).root).text()
    forger = SoftwareSigner(b"\x02" * 32)
    for forged in (KEY.attach(text, forger.sign(text.encode())), KEY.attach(text, b"\0" * 64)):
        with pytest.raises(IntegrityError):
            log.verify([forged])


def test_a_checkpoint_of_nothing_has_the_root_of_nothing(log: AuditLog) -> None:
    text = Checkpoint(ORIGIN, 0, b"\0" * 32).text()
    with pytest.raises(IntegrityError, match="first 0 audit entries"):
        log.verify([KEY.attach(text, SoftwareSigner().sign(text.encode()))])


def test_a_checkpoint_of_another_log_with_the_same_key_is_refused(log: AuditLog, tmp_path: Path) -> None:
    other = open_log(tmp_path / "other.db", origin="example.org/other")
    with pytest.raises(IntegrityError, match="another log"):
        log.verify([other.checkpoint()])


def test_a_log_under_another_key_does_not_verify_stored_checkpoints(path: Path, log: AuditLog) -> None:
    fill(log, 2)
    log.checkpoint()
    with pytest.raises(IntegrityError, match="not signed by the key"):
        open_log(path, SoftwareSigner(b"\x02" * 32)).verify()


BODIES = {
    "not JSON": b"{",
    "not UTF-8": b'{"seq":0,"x":"\xff"}',
    "duplicate members": b'{"seq":0,"seq":0}',
    "not an object": b"[]",
    "no members": b"{}",
    "NaN": b'{"seq":NaN}',
    "deep": b"[" * 30_000,
    "another number": (
        b'{"action":"a.b","actor":"p","detail":{},"phase":"event","seq":5,"subject":"s","time":"t"}'
    ),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_no_entry_is_found(log: AuditLog, path: Path, body: bytes) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO entry VALUES (0, ?)", (body,))
        connection.execute("INSERT INTO node VALUES (0, 0, ?)", (leaf_hash(body),))
    with pytest.raises(IntegrityError):
        log.verify()
    with pytest.raises(IntegrityError):
        list(log.entries())


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "other"},
        {"phase": "done", "intent": 3},
        {"phase": "event", "intent": 3},
        {"phase": "done", "intent": None},
        {"phase": "done", "intent": True},
        {"time": 5},
        {"detail": []},
        {"action": None},
    ],
)
def test_an_entry_with_wrong_members_is_found(log: AuditLog, path: Path, change: dict[str, object]) -> None:
    fill(log, 5)
    rebuild(path, lambda members: members[4].update(change))
    with pytest.raises(IntegrityError, match="Audit entry 4"):
        log.verify()


def test_an_outcome_may_stand_alone(log: AuditLog) -> None:
    log.append("token.refuse", actor="a", subject="token", phase="failed")
    assert log.verify().unfinished == ()


def test_an_outcome_counts_once_and_for_its_own_effect(log: AuditLog, path: Path) -> None:
    with log.effect("a.b", actor="a", subject="s"):
        pass
    rebuild(path, lambda members: members.append(dict(members[1])))
    with pytest.raises(IntegrityError, match="outcome without its announcement"):
        log.verify()
    rebuild(path, lambda members: [members.pop(), members[1].update(subject="t")])
    with pytest.raises(IntegrityError, match="outcome without its announcement"):
        log.verify()


def test_every_entry_is_proven_to_a_reader_who_has_only_the_key(log: AuditLog, kept: str) -> None:
    assert kept
    for seq in range(ENTRIES):
        document = json.loads(json.dumps(log.prove(seq).to_json()))
        InclusionProof.from_json(document).verify(origin=ORIGIN, key=KEY)


def test_a_changed_proof_is_refused(log: AuditLog, kept: str) -> None:
    assert kept
    document = log.prove(4).to_json()
    other = log.prove(5).to_json()
    changes = {
        "index": 5,
        "size": 12,
        "entry": other["entry"],
        "hashes": other["hashes"],
        "checkpoint": kept,
    }
    for member, value in changes.items():
        with pytest.raises(IntegrityError):
            InclusionProof.from_json({**document, member: value}).verify(origin=ORIGIN, key=KEY)


@pytest.mark.parametrize("member", ["index", "size", "entry", "hashes", "checkpoint"])
@pytest.mark.parametrize("value", [None, 1.5, True, {}, [1], "not base64", "\ud800"])
def test_a_malformed_proof_is_refused(log: AuditLog, member: str, value: object) -> None:
    fill(log, 2)
    document = {**log.prove(0).to_json(), member: value}
    with pytest.raises(IntegrityError):
        InclusionProof.from_json(document).verify(origin=ORIGIN, key=KEY)
    del document[member]
    with pytest.raises(IntegrityError):
        InclusionProof.from_json(document)


def test_no_proof_is_given_from_tampered_nodes(log: AuditLog, path: Path) -> None:
    fill(log, 8)
    execute(path, "UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 1")
    with pytest.raises(IntegrityError):
        log.prove(0)


@pytest.mark.parametrize("seq", [-1, 1, 99])
def test_a_proof_of_an_entry_that_does_not_exist_is_a_usage_error(log: AuditLog, seq: int) -> None:
    fill(log, 1)
    with pytest.raises(UsageError):
        log.prove(seq)


def test_consistency_proofs_connect_checkpoints(log: AuditLog) -> None:
    roots = {0: log.verify().root}
    for size in range(1, 12):
        fill(log, 1)
        roots[size] = log.verify().root
    for new, root in roots.items():
        for old in range(new + 1):
            verify_consistency(old, new, log.consistency(old, new), roots[old], root)
    for old, new in ((3, 2), (-1, 2), (2, 99)):
        with pytest.raises(UsageError):
            log.consistency(old, new)
