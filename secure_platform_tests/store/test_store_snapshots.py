"""Snapshots: what was committed is what is read, and everything else is refused."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from required import missing
from store_support import Home, commit, create_home, flip, in_clear, open_home, table

from secure_platform.audit.log import AuditLog
from secure_platform.audit.reader import Entry
from secure_platform.errors import DataRefusedError, IntegrityError, SecurePlatformError, UsageError
from secure_platform.store.digest import content_digest
from secure_platform.store.lake import Lake
from secure_platform.store.location import Location
from secure_platform.store.snapshot import Snapshot, Zone, require_verdicts

RAW = ("healthcare", "patients", Zone.RAW)
Tamper = Callable[[Home, Snapshot, Snapshot], object]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store") / "home"
    home = create_home(root)
    home.audit.close()
    home.database.close()
    return root


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Home:
    shutil.copytree(template, tmp_path / "home")
    return open_home(tmp_path / "home")


def everything(home: Home, snapshot: Snapshot) -> list[Callable[[], object]]:
    """Every way to read a snapshot."""
    zone = snapshot.zone
    place = ("healthcare", snapshot.dataset, zone)
    return [
        lambda: home.store.load(*place, snapshot.snapshot_id),
        lambda: home.store.head(*place),
        lambda: home.store.find(*place, snapshot.input_key),
        lambda: home.store.scan(snapshot).collect(),
    ]


def test_what_was_written_is_read(home: Home) -> None:
    snapshot = commit(home, table(7), quarantine=table(2))
    assert home.store.head(*RAW) == snapshot
    assert home.store.load(*RAW, snapshot.snapshot_id) == snapshot
    assert home.store.scan(snapshot).collect().equals(table(7))
    quarantine = home.store.quarantine(snapshot)
    assert quarantine is not None
    assert quarantine.collect().equals(table(2))


def test_a_snapshot_says_what_it_is(home: Home) -> None:
    snapshot = commit(home, table(7))
    assert (snapshot.product, snapshot.dataset, snapshot.zone) == ("healthcare", "patients", "raw")
    assert snapshot.rows == 7
    assert dict(snapshot.columns) == {"id": "string", "n": "int64", "note": "string", "secret": "binary"}
    assert list(snapshot.columns) == table().columns
    assert snapshot.content_digest == content_digest(home.keys.digest_key("content"), table(7).lazy())
    assert snapshot.bytes == (snapshot.path / "data.parquet").stat().st_size
    assert snapshot.contract_version == "1.0.0"
    assert snapshot.provenance == {"run_id": "run-1", "inputs": []}
    assert snapshot.verdicts["validate"].detail == {"rows": 7}
    assert not snapshot.reused
    assert home.store.quarantine(snapshot) is None


def test_everything_is_private_and_encrypted(home: Home) -> None:
    commit(home, table(50), quarantine=table(5))
    assert in_clear(home.root) == []
    for path in (home.lake, *home.lake.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_same_content_has_one_digest_and_no_two_files_are_equal(home: Home) -> None:
    first, second = commit(home, table(9)), commit(home, table(9))
    assert first.content_digest == second.content_digest
    assert first.file_digest != second.file_digest
    assert first.snapshot_id != second.snapshot_id


def test_batches_and_a_frame_make_the_same_snapshot(home: Home) -> None:
    whole = commit(home, table(90_000))
    with home.store.draft(*RAW, actor="a") as draft:
        draft.write_batches(table(30_000, first=start) for start in (0, 30_000, 60_000))
        parts = draft.commit(input_key="b", contract_version="", contract_digest="", provenance={})
    assert (parts.content_digest, parts.rows) == (whole.content_digest, whole.rows)
    assert home.store.scan(parts).collect().equals(table(90_000))


def test_no_batch_at_all_is_refused(home: Home) -> None:
    with home.store.draft(*RAW, actor="a") as draft, pytest.raises(DataRefusedError, match="without columns"):
        draft.write_batches(iter(()))


def test_observers_ride_along(home: Home) -> None:
    frame = table(1000).lazy()
    with home.store.draft(*RAW, actor="a") as draft:
        assert [result.item() for result in draft.write(frame, [frame.select(pl.len())])] == [1000]
        assert draft.scan().collect().equals(table(1000))


def test_a_draft_that_is_not_committed_leaves_nothing(home: Home) -> None:
    before = home.audit.size()
    with home.store.draft(*RAW, actor="a") as draft:
        draft.write(table().lazy())
    with pytest.raises(DataRefusedError), home.store.draft(*RAW, actor="a") as draft:
        draft.write_batches([table(), table().drop("n")])
    assert list(home.lake.iterdir()) == []
    assert [path.name for path in home.temporary.iterdir()] == ["claims.lock"]
    assert home.store.head(*RAW) is None
    assert home.audit.size() == before


def test_a_draft_is_used_in_order(home: Home) -> None:
    with home.store.draft(*RAW, actor="a") as draft:
        for early in (draft.scan, lambda: commit_draft(draft)):
            with pytest.raises(UsageError, match="Nothing was written"):
                early()
        draft.write(table().lazy())
        draft.verdict("scan", passed=True)
        with pytest.raises(UsageError, match="written twice"):
            draft.write(table().lazy())
        with pytest.raises(UsageError, match="judged"):
            draft.verdict("scan", passed=False)
        draft.write_quarantine(table())
        with pytest.raises(UsageError, match="written twice"):
            draft.write_quarantine(table())
        assert commit_draft(draft).verdicts["scan"].passed


def commit_draft(draft: object) -> Snapshot:
    return draft.commit(input_key="k", contract_version="", contract_digest="", provenance={})  # type: ignore[attr-defined,no-any-return]


def test_a_failing_query_leaves_nothing_and_tells_no_value(home: Home) -> None:
    failing = pl.LazyFrame({"a": ["hidden"]}).select(pl.col("a").cast(pl.Int64))
    with home.store.draft(*RAW, actor="a") as draft, pytest.raises(DataRefusedError) as caught:
        draft.write(failing)
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert list(home.lake.iterdir()) == []


def test_a_type_that_cannot_be_held_is_refused_before_anything_is_written(home: Home) -> None:
    with home.store.draft(*RAW, actor="a") as draft, pytest.raises(DataRefusedError, match="odd"):
        draft.write(pl.LazyFrame({"odd": [[1]]}))


def test_find_gives_the_snapshot_of_an_input(home: Home) -> None:
    assert home.store.find(*RAW, "one") is None
    one, two = commit(home, table(1), input_key="one"), commit(home, table(2), input_key="two")
    again = home.store.find(*RAW, "one")
    assert again is not None
    assert again.reused
    assert again.snapshot_id == one.snapshot_id
    newest = home.store.find(*RAW, "two")
    assert newest is not None
    assert newest.snapshot_id == two.snapshot_id
    assert home.store.find(*RAW, "three") is None
    assert home.store.find("healthcare", "patients", Zone.PROTECTED, "one") is None


def test_find_prefers_head_and_then_the_newest(home: Home) -> None:
    first, second = commit(home, table(1)), commit(home, table(1))
    commit(home, table(2), input_key="other")
    found = home.store.find(*RAW, "key")
    assert found is not None
    assert found.snapshot_id == second.snapshot_id
    home.store.set_head(first, actor="a")
    found = home.store.find(*RAW, "key")
    assert found is not None
    assert found.snapshot_id == first.snapshot_id


def test_head_moves_only_when_it_must_and_is_recorded(home: Home) -> None:
    first, second = commit(home, table(1)), commit(home, table(2))
    assert home.store.head(*RAW) == second
    size = home.audit.size()
    home.store.set_head(second, actor="a")
    assert home.audit.size() == size
    home.store.set_head(first, actor="a")
    assert home.store.head(*RAW) == first
    entries = [
        (entry.body["action"], entry.body["phase"], entry.body["subject"]) for entry in home.audit.tail(2)
    ]
    subject = f"healthcare/raw/patients/{first.snapshot_id}"
    assert entries == [("snapshot.head", "intent", subject), ("snapshot.head", "done", subject)]


def test_a_commit_is_recorded_before_and_after(home: Home) -> None:
    snapshot = commit(home, table(3))
    intent, done = home.audit.tail(2)
    assert (intent.body["action"], intent.body["phase"]) == ("snapshot.write", "intent")
    assert intent.body["subject"] == f"healthcare/raw/patients/{snapshot.snapshot_id}"
    assert intent.body["detail"] == {
        "content_digest": snapshot.content_digest,
        "input_key": "key",
        "rows": 3,
    }
    assert intent.body["actor"] == home.keys.identify("service:scheduler")
    assert (done.body["phase"], done.body["intent"]) == ("done", intent.seq)


def test_without_an_intent_nothing_is_published(home: Home) -> None:
    kept = commit(home, table(1))
    home.audit.close()
    with sqlite3.connect(home.root / "audit.db") as log:
        log.execute("ALTER TABLE entry RENAME TO gone")
    with pytest.raises(SecurePlatformError):
        commit(home, table(2), input_key="second")
    with sqlite3.connect(home.root / "audit.db") as log:
        log.execute("ALTER TABLE gone RENAME TO entry")
    assert home.store.head(*RAW) == kept
    assert home.store.find(*RAW, "second") is None


def test_verdicts_are_required(home: Home) -> None:
    snapshot = commit(home, table(1), verdicts={"validate": True, "scan": False})
    require_verdicts(snapshot, ["validate"])
    with pytest.raises(DataRefusedError, match="failed the stage scan"):
        require_verdicts(snapshot, ["validate", "scan"])
    with pytest.raises(IntegrityError, match="no verdict of the stage references"):
        require_verdicts(snapshot, ["validate", "references"])


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def replace_by_link(path: Path, target: Path) -> None:
    path.rename(target)
    path.symlink_to(target)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def copy_over(one: Snapshot, two: Snapshot, *names: str) -> None:
    for name in names:
        shutil.copy(two.path / name, one.path / name)


def edit(old: str, new: str) -> Tamper:
    return lambda _, one, __: rewrite(one.path / "sidecar.json", old, new)


def put(content: bytes, name: str = "sidecar.json") -> Tamper:
    return lambda _, one, __: (one.path / name).write_bytes(content)


TAMPERED: dict[str, Tamper] = {
    "data changed": lambda _, one, __: flip(one.path / "data.parquet", one.bytes // 2),
    "data cut": lambda _, one, __: os.truncate(one.path / "data.parquet", one.bytes - 1),
    "data grown": lambda _, one, __: os.truncate(one.path / "data.parquet", one.bytes + 1),
    "data gone": lambda _, one, __: (one.path / "data.parquet").unlink(),
    "data of the older snapshot": lambda _, one, two: copy_over(one, two, "data.parquet"),
    "sidecar gone": lambda _, one, __: (one.path / "sidecar.json").unlink(),
    "sidecar of the older snapshot": lambda _, one, two: copy_over(one, two, "sidecar.json"),
    "all of the older snapshot": lambda _, one, two: copy_over(one, two, "sidecar.json", "data.parquet"),
    "verdict edited": edit('"passed":false', '"passed":true'),
    "rows edited": edit('"rows":3', '"rows":4'),
    "member added": edit('{"body"', '{"a":1,"body"'),
    "member twice": edit('"rows":3', '"rows":3,"rows":3'),
    "not JSON": put(b"\xff{"),
    "nested too deeply": put(b"[" * 100_000),
    "another kind": put(b'{"body":[],"mac":1}'),
    "a MAC of HEAD": lambda _, one, __: shutil.copy(one.path.parent / "HEAD", one.path / "sidecar.json"),
    "file added": put(b"", "extra"),
    "directory a link": lambda home, one, __: replace_by_link(one.path, home.root / "moved"),
    "dataset a link": lambda home, one, __: replace_by_link(one.path.parent, home.root / "moved"),
    "product a link": lambda home, one, __: replace_by_link(one.path.parents[2], home.root / "moved"),
    "data a link": lambda home, one, __: replace_by_link(one.path / "data.parquet", home.root / "moved"),
    "sidecar a link": lambda home, one, __: replace_by_link(one.path / "sidecar.json", home.root / "moved"),
    "data a pipe": lambda _, one, __: replace_by_pipe(one.path / "data.parquet"),
    "sidecar a pipe": lambda _, one, __: replace_by_pipe(one.path / "sidecar.json"),
}


CHANGED, STRICT = "was changed after it was written", "is not a strict JSON document"
KIND = "is a link, a device or another kind of file than the platform writes"
SAID = {
    "data changed": rf"data\.parquet of .* {CHANGED}",
    "data cut": rf"data\.parquet of .* {CHANGED}",
    "data grown": rf"data\.parquet of .* {CHANGED}",
    "data gone": r"data\.parquet of .* is missing|has files added or missing",
    "data of the older snapshot": rf"data\.parquet of .* {CHANGED}",
    "sidecar gone": "The sidecar of .* is missing",
    "sidecar of the older snapshot": "The sidecar of .* was written for another place",
    "all of the older snapshot": "The sidecar of .* was written for another place",
    "verdict edited": f"The sidecar of .* {CHANGED}",
    "rows edited": f"The sidecar of .* {CHANGED}",
    "member added": "The sidecar of .* is not a sealed record",
    "member twice": f"The sidecar of .* {STRICT}: an object names a member twice",
    "not JSON": f"The sidecar of .* {STRICT}: it is not UTF-8",
    "nested too deeply": f"The sidecar of .* {STRICT}: it is nested too deeply",
    "another kind": "The sidecar of .* is not a sealed record",
    "a MAC of HEAD": f"The sidecar of .* {CHANGED}",
    "file added": "has files added or missing since it was written",
    "directory a link": f"healthcare/raw/patients/[0-9a-f]{{32}} {KIND}",
    "dataset a link": f"healthcare/raw/patients.* {KIND}",
    "product a link": f"healthcare/raw/patients.* {KIND}",
    "data a link": rf"data\.parquet {KIND}",
    "sidecar a link": rf"sidecar\.json {KIND}",
    "data a pipe": rf"data\.parquet {KIND}",
    "sidecar a pipe": rf"sidecar\.json {KIND}",
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_snapshot_that_is_not_what_was_written_is_refused(home: Home, name: str) -> None:
    old = commit(home, table(4), input_key="old")
    snapshot = commit(home, table(3), verdicts={"validate": True, "scan": False})
    TAMPERED[name](home, snapshot, old)
    reads = everything(home, snapshot)
    # A file beside the data does not change what is scanned; loading refuses it.
    for read in reads[:-1] if name == "file added" else reads:
        with pytest.raises(IntegrityError, match=SAID[name]):
            read()


def test_a_flipped_byte_of_a_sidecar_is_noticed(home: Home) -> None:
    snapshot = commit(home, table(3))
    sidecar = snapshot.path / "sidecar.json"
    for position in range(0, sidecar.stat().st_size, 3):
        bits = (0x01, 0x20)[position % 2]
        flip(sidecar, position, bits)
        with pytest.raises(IntegrityError):
            home.store.load(*RAW, snapshot.snapshot_id)
        flip(sidecar, position, bits)
    assert home.store.load(*RAW, snapshot.snapshot_id) == snapshot


@pytest.mark.parametrize("bits", [0x01, 0x20])
def test_every_flipped_byte_of_head_is_noticed(home: Home, bits: int) -> None:
    snapshot = commit(home, table(3))
    head = snapshot.path.parent / "HEAD"
    for position in range(head.stat().st_size):
        flip(head, position, bits)
        with pytest.raises(IntegrityError):
            home.store.head(*RAW)
        flip(head, position, bits)
    assert home.store.head(*RAW) == snapshot


def test_a_changed_quarantine_is_noticed(home: Home) -> None:
    snapshot = commit(home, table(3), quarantine=table(1))
    flip(snapshot.path / "quarantine.parquet", 60)
    with pytest.raises(IntegrityError):
        home.store.quarantine(snapshot)
    with pytest.raises(IntegrityError):
        home.store.head(*RAW)


def test_a_removed_quarantine_is_noticed(home: Home) -> None:
    snapshot = commit(home, table(3), quarantine=table(1))
    (snapshot.path / "quarantine.parquet").unlink()
    with pytest.raises(IntegrityError):
        home.store.head(*RAW)


@pytest.mark.parametrize(
    ("product", "zone", "dataset"),
    [
        ("healthcare", Zone.PROTECTED, "patients"),
        ("healthcare", Zone.RAW, "encounters"),
        ("finance", Zone.RAW, "patients"),
    ],
)
def test_a_snapshot_moved_to_another_place_is_refused(
    home: Home, product: str, zone: Zone, dataset: str
) -> None:
    snapshot = commit(home, table(3))
    shutil.copytree(snapshot.path.parent, home.lake / product / zone / dataset)
    with pytest.raises(IntegrityError, match="another place"):
        home.store.head(product, dataset, zone)
    with pytest.raises(IntegrityError, match="another place"):
        home.store.load(product, dataset, zone, snapshot.snapshot_id)
    (home.lake / product / zone / dataset / "HEAD").unlink()
    with pytest.raises(IntegrityError, match="another place"):
        home.store.find(product, dataset, zone, "key")


def test_a_snapshot_renamed_is_refused(home: Home) -> None:
    snapshot = commit(home, table(3))
    other = "0" * 32
    snapshot.path.rename(snapshot.path.with_name(other))
    with pytest.raises(IntegrityError, match="another place"):
        home.store.load(*RAW, other)


def test_head_that_names_nothing_is_refused(home: Home) -> None:
    snapshot = commit(home, table(3))
    shutil.rmtree(snapshot.path)
    with pytest.raises(IntegrityError, match="missing"):
        home.store.head(*RAW)


def test_head_that_is_a_link_is_refused(home: Home) -> None:
    snapshot = commit(home, table(3))
    head = snapshot.path.parent / "HEAD"
    head.rename(home.root / "HEAD")
    head.symlink_to(home.root / "HEAD")
    with pytest.raises(IntegrityError, match="link"):
        home.store.head(*RAW)


@pytest.mark.parametrize("put_back", ["older", "none"])
def test_a_head_put_back_is_refused_until_one_is_chosen_again(home: Home, put_back: str) -> None:
    first = commit(home, table(1), input_key="first")
    head = first.path.parent / "HEAD"
    older = head.read_bytes()
    second = commit(home, table(2))
    head.write_bytes(older) if put_back == "older" else head.unlink()
    with pytest.raises(IntegrityError, match="an older one was put back"):
        home.store.head(*RAW)
    chosen = first if put_back == "older" else second
    home.store.set_head(chosen, actor="a")
    assert home.store.head(*RAW) == chosen
    assert home.audit.tail(1)[0].body["action"] == "snapshot.head"


@pytest.mark.parametrize("outcome", ["failed", "none"])
def test_a_head_whose_change_was_never_done_counts_until_a_later_one_is(
    home: Home, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """A killed write leaves an intent without outcome, which must not vouch for its snapshot for ever."""
    honest = Lake.set_head

    def dies(lake: Lake, location: Location, snapshot_id: str, scratch: Path) -> None:
        honest(lake, location, snapshot_id, scratch)
        if outcome == "none":
            monkeypatch.setattr(AuditLog, "_append", lost)
        raise OSError("died")

    def lost(*_: object) -> Entry:
        raise IntegrityError("Nothing is recorded any more", "It died.")

    older = commit(home, table(1), input_key="older")
    head = older.path.parent / "HEAD"
    put_back = head.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "set_head", dies)
        with pytest.raises(OSError, match="died"):
            commit(home, table(2), input_key="died")
    monkeypatch.undo()
    died = home.store.head(*RAW)
    assert died is not None
    assert (died.rows, home.audit.verify().unfinished == ()) == (2, outcome == "failed")
    left = head.read_bytes()
    home.store.set_head(died, actor="a")
    assert [entry.body["phase"] for entry in home.audit.tail(2)] == ["intent", "done"]
    size = home.audit.size()
    home.store.set_head(died, actor="a")
    assert home.audit.size() == size
    head.write_bytes(put_back)
    with pytest.raises(IntegrityError, match="an older one was put back"):
        home.store.head(*RAW)
    for rows in (3, 4):
        commit(home, table(rows))
    head.write_bytes(left)
    with pytest.raises(IntegrityError, match="an older one was put back"):
        home.store.head(*RAW)


def test_a_killed_change_is_over_when_a_later_one_is_done(home: Home) -> None:
    killed, after = commit(home, table(1)), commit(home, table(2))
    head = killed.path.parent / "HEAD"
    newer = head.read_bytes()
    home.store.set_head(killed, actor="a")
    older = head.read_bytes()
    home.audit.append("snapshot.head", actor="a", subject=subject(killed), phase="intent")
    assert home.store.head(*RAW) == killed
    home.store.set_head(after, actor="a")
    assert (home.store.head(*RAW), head.read_bytes()) == (after, newer)
    head.write_bytes(older)
    with pytest.raises(IntegrityError, match="an older one was put back"):
        home.store.head(*RAW)


def test_only_entries_about_this_very_place_decide(home: Home) -> None:
    snapshot = commit(home, table(1))
    for action, about in (
        ("snapshot.head", "healthcare/raw/patients_2/x"),
        ("snapshot.head", "my_healthcare/raw/patients/x"),
        ("snapshot.head", "healthcare/raw/patients/x/y"),
        ("asset.check", "healthcare/raw/patients/x"),
        ("asset.check", '"subject":"healthcare/raw/patients/x'),
    ):
        with home.audit.effect(action, actor="a", subject=about, detail={"subject": subject(snapshot)}):
            pass
    assert home.store.head(*RAW) == snapshot
    size = home.audit.size()
    home.store.set_head(snapshot, actor="a")
    assert home.audit.size() == size


def subject(snapshot: Snapshot) -> str:
    return f"healthcare/raw/patients/{snapshot.snapshot_id}"


def test_a_head_that_moved_although_its_change_failed_is_not_taken_for_an_older_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(home, table(1))
    honest = Lake.set_head

    def fails(lake: Lake, location: Location, snapshot_id: str, scratch: Path) -> None:
        honest(lake, location, snapshot_id, scratch)
        raise OSError("after it moved")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "set_head", fails)
        with pytest.raises(OSError, match="after it moved"):
            commit(home, table(2))
    moved = home.store.head(*RAW)
    assert moved is not None
    assert moved.rows == 2


@pytest.mark.parametrize(("key", "reading"), [("data", [3]), ("mac", [0, 1, 2, 3])])
@pytest.mark.parametrize("state", ["disabled", "destroyed"])
def test_without_its_keys_a_snapshot_does_not_open(
    home: Home, key: str, reading: list[int], state: str
) -> None:
    snapshot = commit(home, table(3))
    home.set_key_state(key, state)
    for index in reading:
        with pytest.raises(IntegrityError):
            everything(open_home(home.root), snapshot)[index]()


def test_another_home_does_not_open_it(home: Home, tmp_path: Path) -> None:
    snapshot = commit(home, table(3))
    other = create_home(tmp_path / "other")
    shutil.copytree(home.lake, other.lake, dirs_exist_ok=True)
    for read in everything(other, snapshot):
        with pytest.raises(IntegrityError):
            read()


def test_a_snapshot_object_made_up_by_a_caller_opens_nothing(home: Home) -> None:
    snapshot = commit(home, table(3))
    other = commit(home, table(4))
    forged = Snapshot(**{**vars(snapshot), "snapshot_id": other.snapshot_id})
    with pytest.raises(IntegrityError, match="not the snapshot"):
        home.store.scan(forged)
    with pytest.raises(UsageError):
        home.store.scan(Snapshot(**{**vars(snapshot), "snapshot_id": "../" + snapshot.snapshot_id}))


def test_a_scan_keeps_reading_what_it_verified(home: Home) -> None:
    snapshot = commit(home, table(3))
    frame = home.store.scan(snapshot)
    shutil.rmtree(snapshot.path)
    assert frame.collect().equals(table(3))


def test_a_name_never_leads_out_of_the_lake(home: Home) -> None:
    for name in ("../x", "a/b", "", "A"):
        with pytest.raises(UsageError):
            home.store.head(name, "patients", Zone.RAW)
        with pytest.raises(UsageError), home.store.draft("healthcare", name, Zone.RAW, actor="a"):
            pass
    with pytest.raises(UsageError):
        home.store.load(*RAW, "../../../etc")


def test_a_draft_is_not_renamed_through_a_link(home: Home, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (home.lake / "healthcare").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="link"):
        commit(home, table(3))
    assert [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()] == []


def test_lake_and_drafts_must_share_a_file_system(home: Home, tmp_path: Path) -> None:
    places = (Path("/dev/shm"), Path("/var/tmp"))  # noqa: S108 - the tests may run in memory themselves
    other = next((p for p in places if p.is_dir() and p.stat().st_dev != tmp_path.stat().st_dev), None)
    if other is None:
        missing("there is no second file system: run the tests where /dev/shm is one")
    there = other / f"secure-platform-test-{os.getpid()}"
    try:
        with pytest.raises(UsageError, match="different file systems"):
            type(home.store)(home.lake, there, home.keys, home.audit)
    finally:
        shutil.rmtree(there, ignore_errors=True)


def test_sidecars_are_canonical_and_hold_no_key(home: Home) -> None:
    snapshot = commit(home, table(3))
    document = (snapshot.path / "sidecar.json").read_bytes()
    body = json.loads(document)["body"]
    key = home.keys.open_data_key(
        body["files"]["data.parquet"]["data_key"],
        {
            "product": "healthcare",
            "dataset": "patients",
            "zone": "raw",
            "snapshot_id": snapshot.snapshot_id,
            "file": "data.parquet",
        },
    )
    assert key not in document
    assert key.hex().encode() not in document
    assert b" " not in document.replace(b"2026-", b"")
