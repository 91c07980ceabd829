"""Who is erased is gone from everything that is kept, whatever dies on the way, unless it must be kept."""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest
from bank_home import PRODUCT, Bank, cards, people
from hold_elsewhere import Elsewhere

from secure_platform.access.principals import ANONYMOUS, Principal
from secure_platform.audit.log import AuditLog
from secure_platform.errors import AccessDeniedError, GateRefusedError, IntegrityError, UsageError
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import deploy
from secure_platform.orchestration.steps.emergency import emergency
from secure_platform.orchestration.steps.erase import AUDITED, concerned, erase, identities_of
from secure_platform.orchestration.steps.erasing import Work
from secure_platform.orchestration.steps.plans import Plans
from secure_platform.orchestration.steps.pull import pull
from secure_platform.orchestration.steps.reveal import Asked, reveal
from secure_platform.orchestration.steps.review import verified_manifest
from secure_platform.orchestration.steps.tombstone import Tombstone, Tombstones
from secure_platform.store.snapshot import Zone
from secure_platform.store.snapshots import SnapshotStore

PERSON = "person-3"
DATASETS = {Zone.RAW: ("people", "cards"), Zone.PROTECTED: ("people", "cards"), Zone.MARTS: ("accounts",)}

TOKEN = "t1_82b6c29be92fb082b3cb5e8f9810e34c"


@dataclass(frozen=True)
class Kept:
    """What of a bank is where, before somebody is erased."""

    token: str
    ids: dict[str, str]


def heads(bank: Bank) -> dict[str, str]:
    store, found = bank.services.store, {}
    for zone, names in DATASETS.items():
        for name in names:
            snapshot = store.head(PRODUCT, name, zone)
            assert snapshot is not None
            found[f"{PRODUCT}/{zone}/{name}"] = snapshot.snapshot_id
    return found


def rows(bank: Bank, zone: Zone, name: str) -> pl.DataFrame:
    store = bank.services.store
    snapshot = store.head(PRODUCT, name, zone)
    assert snapshot is not None
    return store.scan(snapshot).collect()


def kept(bank: Bank) -> Kept:
    raw, protected = rows(bank, Zone.RAW, "people"), rows(bank, Zone.PROTECTED, "people")
    place = raw["id"].to_list().index(PERSON)
    return Kept(protected["id"][place], heads(bank))


def erased(bank: Bank, person: str = PERSON, caller: str = "petra") -> Tombstone:
    return erase(bank.services, PRODUCT, person, bank.person(caller))


def written(bank: Bank) -> Tombstone:
    services = bank.services
    found = Tombstones(bank.home, services.keys).find(identities_of(services, "person", PERSON))
    assert found is not None
    return found


def rejected(bank: Bank) -> None:
    (record,) = bank.services.gate.list(PRODUCT)
    bank.services.gate.reject(record.digest, bank.person("sam"), reason="made anew")


def require_gone(bank: Bank, before: Kept) -> None:
    """From every snapshot that is there, and nobody else from any."""
    store = bank.services.store
    for zone, names in DATASETS.items():
        stored = list(store.stored(PRODUCT, zone))
        # A total that they were part of stays: it has noise, and tells of nobody.
        assert {each.dataset for each in stored} - {"totals"} == set(names)
        for each in stored:
            texts = store.scan(each).select(pl.col(pl.String)).collect()
            for column in texts.iter_columns():
                assert not set(column) & {PERSON, before.token}
    assert set(rows(bank, Zone.RAW, "people")["id"]) == set(people()["id"]) - {PERSON}
    assert rows(bank, Zone.RAW, "cards").height == cards().height - 2
    assert rows(bank, Zone.PROTECTED, "people").height == people().height - 1
    assert rows(bank, Zone.MARTS, "accounts").height == cards().height - 2


def test_a_person_is_gone_from_everything_that_is_kept_and_it_is_said_exactly(bank: Bank) -> None:
    before = kept(bank)
    tombstone = erased(bank)
    require_gone(bank, before)
    after = heads(bank)
    assert sorted(tombstone.rewritten) == sorted(
        f"{name}/{old} as {after[name]}" for name, old in before.ids.items()
    )
    assert tombstone.shredded == ["bank/cards.note", "bank/people.mail"]
    (login,) = tombstone.deleted
    assert login.startswith("bank/token/vault:login/1 until ")
    assert login.endswith(": 1 stored tokens")
    assert tombstone.held == []
    assert tombstone.standing == ["bank/releases/1: pending"]
    assert not tombstone.complete
    assert written(bank).cells == {before.token}, "until the release is gone"
    rejected(bank)
    again = erased(bank)
    assert again.complete
    assert again.rewritten == tombstone.rewritten
    assert again.deleted == [login, "bank/releases/1/payload"]
    assert written(bank).cells == set()
    with pytest.raises(GateRefusedError, match="were deleted on"):
        bank.released("person")
    assert erased(bank).deleted == again.deleted


def test_what_stays_of_others_can_still_be_revealed(bank: Bank) -> None:
    erased(bank)
    for column, unknown in (("people.id", 1), ("accounts.mail", 1), ("accounts.login", 1)):
        table, _, name = column.partition(".")
        cells = bank.released("person") if table == "people" else None
        asked = Asked(PRODUCT, table, name, release=1, purpose="fraud", cells=cells)
        revealed = reveal(bank.services, asked, bank.person("petra"))
        assert (revealed.frame.height, revealed.unknown) == (people().height, unknown)


def test_what_is_in_production_stands_until_something_else_is(bank: Bank) -> None:
    (record,) = bank.services.gate.list(PRODUCT)
    bank.services.gate.approve(record.digest, bank.person("sam"), reason="reviewed", base=None)
    deploy(bank.services, bank.services.product(PRODUCT))
    tombstone = erased(bank)
    assert tombstone.standing == ["bank/releases/1: in production"]
    assert bank.services.gate.get(record.digest).state is ReleaseState.DEPLOYED
    production = bank.services.target.query(PRODUCT, "from accounts", limit=100, actor="test")
    assert production.height == cards().height


def test_older_snapshots_are_deleted_and_lines_that_nobody_could_read(bank: Bank, tmp_path: Path) -> None:
    before = kept(bank)
    more = pl.concat([people(), people().head(1).with_columns(pl.lit("person-99").alias("id"))])
    more.write_csv(tmp_path / "people.csv")
    with (tmp_path / "people.csv").open("a") as file:
        file.write(f"{PERSON},too,many,fields,here,now\n")
    context = StepContext(bank.services, bank.services.product(PRODUCT), "run", "dana", tmp_path)
    newest = pull(context, "people").snapshot
    quarantined = bank.services.store.quarantine(newest)
    assert quarantined is not None
    assert PERSON.encode() in (quarantined.collect()["record"].drop_nulls().to_list()[0])
    tombstone = erased(bank)
    assert f"bank/raw/people/{before.ids['bank/raw/people']}" in tombstone.deleted
    left = bank.services.store.head(PRODUCT, "people", Zone.RAW)
    assert left is not None
    assert f"bank/raw/people/{newest.snapshot_id} as {left.snapshot_id}" in tombstone.rewritten
    aside = bank.services.store.quarantine(left)
    assert aside is not None
    assert aside.collect().height == 0
    assert "person-99" in set(rows(bank, Zone.RAW, "people")["id"])
    assert pull(context, "people").snapshot.snapshot_id == left.snapshot_id, "the same source, without them"


def test_a_source_that_still_has_them_does_not_bring_them_back(bank: Bank, tmp_path: Path) -> None:
    before = kept(bank)
    erased(bank)
    people().reverse().write_csv(tmp_path / "people.csv")
    cards().reverse().write_csv(tmp_path / "cards.csv")
    context = StepContext(bank.services, bank.services.product(PRODUCT), "run", "dana", tmp_path)
    for name in ("people", "cards"):
        pulled = pull(context, name).snapshot
        assert not pulled.reused
        assert pulled.verdicts["validate"].passed
    require_gone(bank, before)


class KilledError(BaseException):
    """As a process dies: nobody catches it."""


def dying(genuine: Callable[..., Any], turn: int) -> Callable[..., Any]:
    """The same, but that the process dies when it is called for this time."""
    calls = itertools.count(1)

    def call(*given: Any, **named: Any) -> Any:
        if next(calls) == turn:
            raise KilledError
        return genuine(*given, **named)

    return call


def test_a_call_that_died_anywhere_is_said_again_and_finishes(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept(bank)
    rejected(bank)
    turns = (("draft", 1), ("delete", 1), ("delete", 2), ("draft", 2), ("delete", 2), ("stored", 3))
    for method, turn in turns:
        with monkeypatch.context() as patch:
            patch.setattr(SnapshotStore, method, dying(getattr(SnapshotStore, method), turn))
            with pytest.raises(KilledError):
                erased(bank)
    tombstone = erased(bank)
    assert tombstone.complete
    require_gone(bank, before)
    after = heads(bank)
    assert sorted(tombstone.rewritten) == sorted(
        f"{name}/{old} as {after[name]}" for name, old in before.ids.items()
    )
    payload, login = tombstone.deleted
    assert (payload, login.endswith(": 1 stored tokens")) == ("bank/releases/1/payload", True)
    outcomes = [e.body["phase"] for e in bank.services.audit.entries() if e.body["action"] == AUDITED]
    assert outcomes == ["intent", "failed"] * len(turns) + ["intent", "done"]


def test_a_call_that_dies_at_every_step_in_turn_is_said_again_and_finishes(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each thing that is written to the log, and before each time the tombstone is."""
    before = kept(bank)
    rejected(bank)
    died = 0
    for turn in itertools.count(1):
        with monkeypatch.context() as patch:
            step = dying(lambda: None, turn)
            patch.setattr(AuditLog, "_append", counted(step, AuditLog._append))
            patch.setattr(Tombstones, "save", counted(step, Tombstones.save))
            try:
                tombstone = erased(bank)
            except KilledError:
                died += 1
                continue
        break
    assert died > 7
    assert tombstone.complete
    require_gone(bank, before)
    assert tombstone.shredded == ["bank/cards.note", "bank/people.mail"]
    assert bank.services.keys.erased("person", [PERSON, "person-4"]) == {PERSON}
    assert sorted(tombstone.rewritten) == sorted(
        f"{name}/{old} as {heads(bank)[name]}" for name, old in before.ids.items()
    )


def test_a_call_that_died_between_two_files_of_a_package_is_said_again_and_finishes(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected(bank)
    payload = bank.home / "releases" / PRODUCT / "1" / "payload"
    moved = list[Path]()

    def rename(path: Path, target: Path) -> Path:
        if path.parent == payload and moved:
            raise KilledError
        if path.parent == payload:
            moved.append(path)
        return path.replace(target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KilledError):
            erased(bank)
    assert len(list(payload.iterdir())) == 1
    tombstone = erased(bank)
    assert (tombstone.complete, list(payload.iterdir())) == (True, [])
    assert tombstone.deleted.count("bank/releases/1/payload") == 1


def counted(step: Callable[[], None], genuine: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        step()
        return genuine(*given, **named)

    return call


def an_older_copy_of_tokens(bank: Bank) -> None:
    with bank.services.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM token_page")


def a_damaged_file(bank: Bank, pattern: str) -> None:
    path = max(bank.home.glob(pattern), key=lambda each: each.stat().st_size)
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def a_changed_record_of_the_metrics(bank: Bank) -> None:
    with bank.services.database.write() as connection:
        connection.exec_driver_sql("UPDATE profile SET numbers = '{}' WHERE zone = 'marts'")


def a_newest_child_of_another_contract(bank: Bank) -> None:
    store = bank.services.store
    snapshot = store.head(PRODUCT, "cards", Zone.RAW)
    assert snapshot is not None
    with store.draft(PRODUCT, "cards", Zone.RAW, actor="t") as draft:
        draft.write(store.scan(snapshot).drop("note"))
        draft.commit(input_key="k", contract_version="9.0.0", contract_digest="x", provenance={})


DAMAGES: dict[str, tuple[Callable[[Bank], None], str]] = {
    "tokens": (an_older_copy_of_tokens, "an older copy was put back"),
    "mart": (partial(a_damaged_file, pattern="lake/bank/marts/accounts/*/*.parquet"), "accounts"),
    "raw": (partial(a_damaged_file, pattern="lake/bank/raw/cards/*/*.parquet"), "cards"),
    "package": (partial(a_damaged_file, pattern="releases/bank/*/payload/*"), "release"),
    "manifest": (partial(a_damaged_file, pattern="releases/bank/*/manifest.json"), "manifest"),
    "metrics": (a_changed_record_of_the_metrics, "metrics"),
    "child": (a_newest_child_of_another_contract, "newest raw snapshot of cards"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_refuses_does_so_before_anything_is_changed(bank: Bank, name: str) -> None:
    damage, said = DAMAGES[name]
    damage(bank)
    before, size = files_of(bank), bank.services.audit.size()
    with pytest.raises((IntegrityError, UsageError), match=said):
        erased(bank)
    assert not bank.services.keys.any_erased("person")
    assert files_of(bank) == before
    told = {entry.body["action"] for entry in bank.services.audit.entries() if entry.seq >= size}
    assert told <= {AUDITED, "policy.decide"}, "nothing but that it was asked for"


def files_of(bank: Bank) -> dict[str, bytes]:
    found = (path for folder in ("lake", "releases", "erasures") for path in (bank.home / folder).rglob("*"))
    return {
        str(path): path.read_bytes() for path in found if path.is_file() and not path.name.startswith(".")
    }


def test_a_hold_that_is_set_while_all_is_read_keeps_the_key(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey, hold = Work.survey, Elsewhere(bank)

    def held(*given: Any) -> None:
        survey(*given)
        hold.begin()

    with monkeypatch.context() as patch:
        patch.setattr(Work, "survey", held)
        with pytest.raises(GateRefusedError, match="legal hold was set or lifted"):
            erased(bank)
    assert hold.end() == "24-cv-0117"
    assert not bank.services.keys.any_erased("person")
    assert erased(bank).held == ["bank: 24-cv-0117"]
    assert not bank.services.keys.any_erased("person")


def test_a_hold_that_is_set_while_rows_are_deleted_stops_it_and_is_said_to_be_set_only_then(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, hold, gone = SnapshotStore.delete, Elsewhere(bank), list[str]()

    def held(*given: Any, **named: Any) -> None:
        delete(*given, **named)
        gone.append(given[1].dataset)
        hold.begin()
        assert not hold.ended(), "before what is being erased has stopped"

    with monkeypatch.context() as patch:
        patch.setattr(SnapshotStore, "delete", held)
        with pytest.raises(GateRefusedError, match="legal hold was set or lifted"):
            erased(bank)
    assert hold.end() == "24-cv-0117"
    assert len(gone) == 1
    assert PERSON in set(rows(bank, Zone.RAW, "people")["id"])
    tombstone = erased(bank)
    assert (tombstone.held, len(gone)) == (["bank: 24-cv-0117"], 1)
    assert PERSON in set(rows(bank, Zone.RAW, "people")["id"])


def test_rows_that_came_back_from_a_copy_are_not_shown_or_deployed(bank: Bank) -> None:
    payload = bank.home / "releases" / PRODUCT / "1" / "payload"
    copy = shutil.copytree(payload, bank.home.parent / "copy")
    rejected(bank)
    erased(bank)
    shutil.copytree(copy, payload, dirs_exist_ok=True)
    (record,) = bank.services.gate.list(PRODUCT)
    with pytest.raises(GateRefusedError, match="No copy may be put back"):
        verified_manifest(bank.services, record)
    erased(bank)
    assert not list(payload.iterdir()), "and the erasure said again deletes them"


def test_a_leaked_key_is_answered_though_the_rows_of_a_release_that_was_deployed_are_gone(bank: Bank) -> None:
    gate, sam = bank.services.gate, bank.person("sam")
    (record,) = gate.list(PRODUCT)
    gate.approve(record.digest, sam, reason="reviewed", base=None)
    gate.withdraw(record.digest, sam, reason="made anew")
    assert erased(bank).complete
    # As one that another release has replaced in production.
    bank.services.gate.record(record.digest, ReleaseState.DEPLOYED, actor="test")
    done = emergency(bank.services, bank.person("admin"), "sign")
    assert (done.signed_again["releases"], done.left) == (1, ())


def test_what_is_on_hold_stays_until_the_hold_is_lifted(bank: Bank) -> None:
    services, petra = bank.services, bank.person("petra")
    before, resource = kept(bank), bank.resource
    others = identities_of(services, "person", "person-4")
    services.holds.set(petra, resource, "24-cv-1", others[0])
    services.holds.set(petra, resource, "24-cv-2", identities_of(services, "person", PERSON)[0])
    services.holds.set(petra, resource, "24-cv-3", None)
    tombstone = erased(bank)
    assert tombstone.held == ["bank: 24-cv-2", "bank: 24-cv-3"]
    assert (tombstone.shredded, tombstone.rewritten, tombstone.deleted, tombstone.complete) == (
        [],
        [],
        [],
        False,
    )
    assert heads(bank) == before.ids
    assert PERSON in services.keys.subject_keys("person", [PERSON])
    services.holds.lift(petra, resource, "24-cv-3", [])
    assert erased(bank).held == ["bank: 24-cv-2"]
    services.holds.lift(petra, resource, "24-cv-2", identities_of(services, "person", PERSON))
    assert erased(bank).held == []
    require_gone(bank, before)
    assert [each.matter for each in services.holds.all()] == ["24-cv-1"]
    with pytest.raises(UsageError, match="no such hold"):
        services.holds.lift(petra, resource, "24-cv-2", [])
    with pytest.raises(UsageError, match="number of a matter"):
        services.holds.set(petra, resource, "the case of Ann", None)


def test_a_hold_outlives_the_key_that_names_people(bank: Bank) -> None:
    services = bank.services
    name = identities_of(services, "person", PERSON)[0]
    services.holds.set(bank.person("petra"), bank.resource, "24-cv-2", name)
    erased(bank, "person-5")
    services.keys.lifecycle.rotate("digest", actor="admin")
    assert erased(bank).held == ["bank: 24-cv-2"]
    tombstones = sorted((bank.home / "erasures").glob("*.json"))
    erased(bank, "person-5")
    assert sorted((bank.home / "erasures").glob("*.json")) == tombstones


def test_nobody_else_erases_or_holds(bank: Bank) -> None:
    before = heads(bank)
    petra = bank.person("petra")
    service = Principal("service:erase", "service", petra.roles, active=True)
    for caller in (bank.person("dana"), bank.person("sam"), bank.person("admin"), service, ANONYMOUS):
        with pytest.raises(AccessDeniedError, match="subject_erase"):
            erase(bank.services, PRODUCT, PERSON, caller)
        with pytest.raises(AccessDeniedError, match="legal_hold"):
            bank.services.holds.set(caller, bank.resource, "24-cv-1", None)
    assert heads(bank) == before
    assert bank.services.holds.all() == []


def test_a_product_that_names_nobody_by_it_is_said(bank: Bank) -> None:
    _, products = concerned(bank.services, Plans(bank.services), PRODUCT, None)
    assert [each.name for each in products] == [PRODUCT]
    with pytest.raises(UsageError, match="names persons in person"):
        erase(bank.services, PRODUCT, PERSON, bank.person("petra"), domain="staff")


def test_who_it_was_is_nowhere_in_the_clear(bank: Bank) -> None:
    tombstone = erased(bank)
    log = json.dumps([entry.body for entry in bank.services.audit.entries()], default=str)
    files = [path.read_bytes() for path in (bank.home / "erasures").iterdir()]
    assert PERSON not in log
    assert not any(PERSON.encode() in content or b"t1_" in content for content in files)
    (done,) = [e.body for e in bank.services.audit.entries() if e.body["action"] == AUDITED][1:]
    counts = {name: done["detail"][name] for name in ("shredded", "deleted", "rewritten", "standing")}
    assert counts == {"shredded": 2, "deleted": 1, "rewritten": 5, "standing": 1}
    assert tombstone.person in log


def test_a_changed_tombstone_is_refused(bank: Bank) -> None:
    erased(bank)
    (path,) = (bank.home / "erasures").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b'"held":[]', b'"held":["x"]'))
    with pytest.raises(IntegrityError, match="tombstone"):
        erased(bank)


def test_somebody_who_is_in_no_data_is_erased_for_what_may_come(bank: Bank) -> None:
    before = heads(bank)
    tombstone = erased(bank, "person-77")
    assert (tombstone.rewritten, tombstone.standing, tombstone.complete) == ([], [], True)
    assert heads(bank) == before
    assert bank.services.keys.subject_keys("person", ["person-77"]) == {}


@pytest.mark.parametrize("cells", [["12", TOKEN], ["12"]])
def test_a_token_inside_json_stands_for_the_person_and_a_short_key_does_not(cells: list[str]) -> None:
    texts = ["12", "13", f'{{"patient": "{TOKEN}", "n": 1}}', '{"n": 12}', None]
    frame = pl.LazyFrame({"n": range(5), "text": texts})
    work = SimpleNamespace(tombstone=SimpleNamespace(cells=set(cells)))
    found = frame.filter(Work._standing(cast("Work", work), frame)).collect()
    assert found["n"].to_list() == ([0, 2] if TOKEN in cells else [0])
