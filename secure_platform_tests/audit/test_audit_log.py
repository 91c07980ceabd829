"""Appending: durable, gap-free under concurrency, private, and closed when it cannot write."""

import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from audit_support import SoftwareSigner, execute, fill, identify, open_log

from secure_platform.audit.log import MAX_ENTRY_BYTES, AuditLog
from secure_platform.errors import DataRefusedError, IntegrityError, StorageError, UsageError

WRITER = Path(__file__).with_name("audit_support.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "audit.db"


@pytest.fixture
def log(path: Path) -> AuditLog:
    return open_log(path)


def start_writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, WRITER, path, name, str(count)], stdout=subprocess.PIPE, text=True
    )


def acknowledged(output: str) -> dict[int, str]:
    complete = output[: output.rfind("\n") + 1].splitlines()
    return {int(seq): leaf for seq, leaf in (line.split() for line in complete)}


def phases(log: AuditLog) -> list[tuple[str, str]]:
    return [(e.body["action"], e.body["phase"]) for e in log.entries()]


def test_an_entry_holds_what_was_said_and_no_name(log: AuditLog, path: Path) -> None:
    entry = log.append("snapshot.write", actor="alice@example.org", subject="a/raw/b", detail={"rows": 3})
    assert entry.seq == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry.body["time"])
    assert log.identify("alice@example.org") == entry.body["actor"]
    assert {k: v for k, v in entry.body.items() if k != "time"} == {
        "seq": 0,
        "action": "snapshot.write",
        "phase": "event",
        "actor": identify("alice@example.org"),
        "subject": "a/raw/b",
        "detail": {"rows": 3},
    }
    assert b"alice" not in path.read_bytes() + path.with_name("audit.db-wal").read_bytes()


def test_entries_are_read_back_as_they_were_written(log: AuditLog) -> None:
    written = [
        log.append("a.b", actor="x", subject="s", detail={"n": n, "text": "é\n", "none": None, "list": [1]})
        for n in range(5)
    ]
    assert list(log.entries()) == written
    assert list(log.entries(1, 3)) == written[1:3]
    assert log.tail(2) == written[3:]
    assert log.tail(99) == written
    assert log.size() == 5


def test_entries_are_found_backwards_page_by_page_while_others_append(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_platform.audit.reader.PAGE", 3)
    assert list(log.backwards("x")) == []
    for number in range(10):
        log.append("test.event", actor="a", subject=f"{'dark' if number % 2 == 0 else 'light'} {number}")
    assert [entry.seq for entry in log.backwards("")] == list(range(10))[::-1]
    assert [entry.seq for entry in log.backwards("dark", 3)] == [8, 6, 4]
    assert list(log.backwards("dark", 10)) == []
    found = log.backwards("dark")
    assert next(found) == log.tail(2)[0]
    log.append("test.event", actor="a", subject="dark 10")
    assert [entry.seq for entry in found] == [6, 4, 2, 0]


def test_another_handle_continues_the_log(log: AuditLog, path: Path) -> None:
    fill(log, 3)
    again = open_log(path)
    fill(again, 2)
    assert [e.seq for e in log.entries()] == [0, 1, 2, 3, 4]
    assert again.verify().size == 5


def test_files_are_private(log: AuditLog, path: Path) -> None:
    fill(log, 1)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


@pytest.mark.parametrize("action", ["", "x", "A.b", "a.b ", "a..b", "a.b\n", "1.b", "a.b;c"])
def test_an_action_that_is_not_dotted_lower_case_is_refused(log: AuditLog, action: str) -> None:
    with pytest.raises(UsageError):
        log.append(action, actor="a", subject="s")
    assert log.size() == 0


@pytest.mark.parametrize(
    "detail", [{"x": float("nan")}, {"x": 2**53}, {"x": b"bytes"}, {"x": "\ud800"}, {"x": object()}, {1: 2}]
)
def test_a_body_that_json_cannot_carry_is_refused_and_nothing_is_kept(
    log: AuditLog, detail: dict[Any, Any]
) -> None:
    with pytest.raises(IntegrityError):
        log.append("a.b", actor="a", subject="s", detail=detail)
    assert log.size() == 0
    fill(log, 1)
    assert log.verify().size == 1


def test_the_largest_entry_has_65535_bytes(log: AuditLog) -> None:
    probe = log.append("a.b", actor="a", subject="s", detail={"x": ""})
    room = MAX_ENTRY_BYTES - len(_body(log, probe.seq))
    log.append("a.b", actor="a", subject="s", detail={"x": "v" * room})
    with pytest.raises(IntegrityError, match="65536 bytes; 65535 are allowed") as refused:
        log.append("a.b", actor="a", subject="s", detail={"x": "v" * (room + 1)})
    assert "vvv" not in str(refused.value)
    assert len(_body(log, 1)) == MAX_ENTRY_BYTES


def _body(log: AuditLog, seq: int) -> bytes:
    return log.prove(seq).entry.encode()


def test_an_effect_is_announced_before_it_happens(log: AuditLog) -> None:
    with log.effect("deploy.publish", actor="a", subject="s", detail={"release": "r"}) as outcome:
        assert phases(log) == [("deploy.publish", "intent")]
        outcome["rows"] = 3
    intent, done = log.entries()
    assert done.body["phase"] == "done"
    assert done.body["intent"] == intent.seq
    assert (intent.body["detail"], done.body["detail"]) == ({"release": "r"}, {"rows": 3})


def test_a_failed_effect_records_the_class_of_its_exception_only(log: AuditLog, path: Path) -> None:
    def fail() -> None:
        with log.effect("snapshot.write", actor="a", subject="s") as outcome:
            outcome["value"] = "CANARY"
            raise DataRefusedError("Column ssn holds CANARY-999-12-3456", "Fix CANARY.")

    with pytest.raises(DataRefusedError):
        fail()
    failed = log.tail(1)[0].body
    assert (failed["phase"], failed["intent"]) == ("failed", 0)
    assert failed["detail"] == {"error": "DataRefusedError"}
    assert b"CANARY" not in path.with_name("audit.db-wal").read_bytes()


def test_an_interrupted_effect_is_recorded(log: AuditLog) -> None:
    with pytest.raises(KeyboardInterrupt), log.effect("a.b", actor="a", subject="s"):
        raise KeyboardInterrupt
    assert log.tail(1)[0].body["detail"] == {"error": "KeyboardInterrupt"}


def test_an_effect_whose_intent_cannot_be_stored_never_happens(log: AuditLog, path: Path) -> None:
    path.rename(path.with_name("gone.db"))
    ran = []
    with pytest.raises(IntegrityError), log.effect("a.b", actor="a", subject="s"):
        ran.append(True)
    assert not ran


def test_a_failure_that_cannot_be_recorded_still_shows_itself(log: AuditLog, path: Path) -> None:
    kept = path.with_name("kept.db")

    def fail() -> None:
        with log.effect("a.b", actor="a", subject="s"):
            path.rename(kept)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        fail()
    assert raised.value.__notes__ == ["The failure could not be recorded in the audit log."]
    kept.rename(path)
    assert log.verify().unfinished == (0,)


def test_an_outcome_that_cannot_be_recorded_is_an_error(log: AuditLog) -> None:
    with pytest.raises(IntegrityError), log.effect("a.b", actor="a", subject="s") as outcome:
        outcome["ratio"] = float("nan")
    assert log.verify().unfinished == (0,)


def test_a_file_replaced_under_an_open_log_is_noticed(log: AuditLog, path: Path) -> None:
    fill(log, 3)
    log.close()
    path.rename(path.with_name("old.db"))
    open_log(path)
    with pytest.raises(IntegrityError, match="replaced"):
        fill(log, 1)


@pytest.mark.parametrize("content", [b"not a database" * 100, b"\0" * 8192])
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit.db"
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        open_log(path)


def test_a_database_with_other_tables_is_refused(tmp_path: Path) -> None:
    execute(tmp_path / "audit.db", "CREATE TABLE entry(seq INTEGER PRIMARY KEY, body BLOB)")
    with pytest.raises(IntegrityError, match="not an audit log"):
        open_log(tmp_path / "audit.db")


def test_a_trigger_planted_in_the_log_is_refused(log: AuditLog, path: Path) -> None:
    fill(log, 1)
    execute(path, "CREATE TRIGGER quiet AFTER INSERT ON entry BEGIN DELETE FROM node; END")
    with pytest.raises(IntegrityError, match="not an audit log"):
        open_log(path)


def test_threads_append_without_a_gap(log: AuditLog) -> None:
    threads = [threading.Thread(target=fill, args=(log, 50)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [e.seq for e in log.entries()] == list(range(200))
    assert log.verify().size == 200


def test_processes_that_open_a_new_log_at_once_append_without_a_gap(path: Path) -> None:
    writers = [start_writer(path, f"writer{n}", 60) for n in range(4)]
    seen: dict[int, str] = {}
    for writer in writers:
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        own = acknowledged(output)
        assert len(own) == 60
        assert not seen.keys() & own.keys()
        seen |= own
    log = open_log(path)
    assert {e.seq: e.leaf.hex() for e in log.entries()} == seen
    assert sorted(seen) == list(range(240))
    assert log.verify().size == 240


def test_a_log_is_verified_and_exported_while_others_append(path: Path, tmp_path: Path) -> None:
    log = open_log(path)
    sizes, kept = [log.verify().size], [log.checkpoint()]
    writers = [start_writer(path, f"writer{n}", 60) for n in range(2)]
    threads = [threading.Thread(target=fill, args=(log, 40)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or any(each.poll() is None for each in writers):
        sizes.append(log.verify(kept).size)
        log.export(tmp_path / "export")
        kept = [*kept[:1], (tmp_path / "export" / "checkpoint").read_text()]
    assert [each.communicate()[1] for each in writers] == [None, None]
    assert sizes == sorted(sizes)
    assert log.verify(kept).size == 200
    log.export(tmp_path / "export")


def test_a_forked_child_appends_through_the_same_handle(log: AuditLog) -> None:
    fill(log, 2)
    child = os.fork()
    if child == 0:
        try:
            fill(log, 3)
        finally:
            os._exit(0 if log.size() >= 5 else 1)
    fill(log, 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    fill(log, 1)
    assert log.verify().size == 9


def test_kill_loses_no_acknowledged_entry(path: Path) -> None:
    kept: dict[int, str] = {}
    log = open_log(path)
    checkpoints: list[str] = []
    for pause in (0.0, 0.01, 0.03, 0.08):
        writer = start_writer(path, "writer", 1_000_000)
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=30)
        kept |= acknowledged(first + rest)
        stored = {e.seq: e.leaf.hex() for e in log.entries()}
        assert kept.items() <= stored.items()
        assert log.verify(checkpoints).size == len(stored)
        checkpoints.append(log.checkpoint())
    assert len(kept) >= 4


def _append_with_a_full_disk(path: Path) -> None:
    """Let the file system refuse bytes beyond the present size of the log's files."""
    log = open_log(path)
    fill(log, 20)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    largest = max(file.stat().st_size for file in path.parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    ran = []
    with (
        pytest.raises(StorageError, match="could not use the disk"),
        log.effect("a.b", actor="a", subject="s", detail={"x": "v" * 60_000}),
    ):
        ran.append(True)
    assert not ran
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert log.size() == 20
    fill(log, 1)


def test_a_full_disk_stops_the_effect_and_the_log_recovers(path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(WRITER.parent)!r}); from pathlib import Path;"
        f" from test_audit_log import _append_with_a_full_disk as run; run(Path({str(path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert open_log(path).verify().size == 21


def test_a_signer_with_an_impossible_name_is_refused(path: Path) -> None:
    with pytest.raises(UsageError):
        open_log(path, SoftwareSigner(name="two words"))
    with pytest.raises(UsageError):
        open_log(path, origin="a\nb")


@pytest.mark.parametrize("read", ["entries", "backwards"])
def test_an_entry_that_was_edited_is_not_read(path: Path, log: AuditLog, read: str) -> None:
    fill(log, 3)
    execute(path, "UPDATE entry SET body = CAST(replace(body, '\"n\":1', '\"n\":7') AS BLOB) WHERE seq = 1")
    with pytest.raises(IntegrityError, match="entry 1 does not match the hash"):
        list(log.entries() if read == "entries" else log.backwards("snapshot"))
