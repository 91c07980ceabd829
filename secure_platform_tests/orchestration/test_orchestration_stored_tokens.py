"""Unchanged data keep their stored tokens, ended ones are deleted, of an erased person none is left."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import polars as pl
import pytest
from bank_home import PRODUCT, Bank, people
from hold_elsewhere import Elsewhere

from secure_platform.access.holds import Hold
from secure_platform.access.resources import ProductResource
from secure_platform.contract.model import Contract
from secure_platform.errors import GateRefusedError, IntegrityError, UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.keys.book_states import Book
from secure_platform.keys.stored_tokens import UNREAD, StoredTokens
from secure_platform.orchestration.steps import erasing, plans, searchable, stored_tokens
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.orchestration.steps.emergency import emergency
from secure_platform.orchestration.steps.erase import erase
from secure_platform.orchestration.steps.key_usage import usage_of
from secure_platform.orchestration.steps.plans import Plans
from secure_platform.orchestration.steps.protect import current_plan, plan_digest
from secure_platform.orchestration.steps.reveal import Asked, reveal
from secure_platform.orchestration.steps.tombstone import WHOLE
from secure_platform.protect.person import Values, own_values, vaults
from secure_platform.release.verify import SignedManifest
from secure_platform.services import SCHEDULER, Services
from secure_platform.source.csv import LINE
from secure_platform.store.snapshot import Snapshot, Zone

DOMAIN = "vault:login"
TODAY = datetime.now(UTC).date()
ENDED = Book(DOMAIN, 1, TODAY - timedelta(days=1), "hex")


def books(bank: Bank) -> list[Book]:
    return bank.services.keys.stored_tokens.known()


def put(bank: Bank, book: Book) -> None:
    bank.services.keys.stored_tokens.append(book, UNREAD, lambda _, __: [(b"sealed", 1)])


def swept(bank: Bank) -> int:
    return stored_tokens.sweep(bank.services, actor=SCHEDULER)


def test_unchanged_data_keep_their_tokens_and_are_reused(bank: Bank) -> None:
    store, before = bank.services.store, bank.services.keys.stored_tokens.count(DOMAIN)
    head = store.head(PRODUCT, "people", Zone.PROTECTED)
    bank.build()
    assert store.head(PRODUCT, "people", Zone.PROTECTED) == head
    assert len(bank.services.gate.list(PRODUCT)) == 1
    assert bank.services.keys.stored_tokens.count(DOMAIN) == before == people().height


def test_after_the_last_day_everything_is_made_anew_with_other_tokens(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    (book,) = books(bank)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Later":
            assert tz is UTC
            return cls.combine(book.until + timedelta(days=1), datetime.min.time(), UTC)

    monkeypatch.setattr("secure_platform.orchestration.steps.protect.datetime", Later)
    services = bank.services
    now = current_plan(services.product(PRODUCT), services.keys).datasets["people"]
    (login,) = (column for column in now.columns if column.column == "login")
    assert date.fromisoformat(str(login.params["until"])) > book.until
    monkeypatch.setattr("secure_platform.protect.vault.datetime", Later)
    asked = Asked(PRODUCT, "accounts", "login", 1, "fraud", bank.released("login")[:1])
    with pytest.raises(Exception, match="and no longer"):
        reveal(services, asked, bank.person("petra"))


def test_what_ended_is_deleted_and_nothing_else(bank: Bank) -> None:
    (live,) = books(bank)
    put(bank, ENDED)
    put(bank, Book("vault:elsewhere", 3, date(2020, 1, 1), "uuid"))
    put(bank, last := Book("vault:elsewhere", 3, TODAY, "uuid"))
    assert swept(bank) == 2
    assert books(bank) == [last, live]
    assert swept(bank) == 0
    told = [
        entry.body for entry in bank.services.audit.entries() if entry.body["action"] == stored_tokens.ENDED
    ]
    assert [body["phase"] for body in told] == ["intent", "done"] * 2
    assert told[2]["subject"] == f"token/{DOMAIN}/1 until {ENDED.until}"


def test_what_is_on_hold_is_kept_but_told_to_nobody(bank: Bank) -> None:
    services, petra = bank.services, bank.person("petra")
    put(bank, ENDED)
    other = Book("vault:elsewhere", 1, ENDED.until, "hex")
    put(bank, other)
    services.holds.set(petra, bank.resource, "24-cv-0117", None)
    assert (swept(bank), ENDED in books(bank), other in books(bank)) == (1, True, False)
    services.holds.lift(petra, bank.resource, "24-cv-0117", ())
    assert (swept(bank), ENDED in books(bank)) == (1, False)


def test_a_hold_that_is_set_while_books_end_stops_it(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bank, ENDED)
    put(bank, replace(ENDED, until=TODAY - timedelta(days=2)))
    close, hold, closed = StoredTokens.close, Elsewhere(bank), list[Book]()

    def held(*given: Any) -> None:
        close(*given)
        closed.append(given[1])
        hold.begin()
        assert not hold.ended()

    monkeypatch.setattr(StoredTokens, "close", held)
    with pytest.raises(GateRefusedError, match="legal hold was set or lifted"):
        swept(bank)
    assert hold.end() == "24-cv-0117"
    assert (len(closed), swept(bank), len(books(bank))) == (1, 0, 2)


def test_a_product_on_hold_that_is_not_there_any_more_keeps_all(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bank, ENDED)
    bank.services.holds.set(bank.person("petra"), bank.resource, "24-cv-0117", None)
    (tmp_path / "empty" / "defs").mkdir(parents=True)
    (tmp_path / "empty" / "platform.yaml").write_text("{}\n")
    services = bank.services
    monkeypatch.setattr(type(services), "products", {})
    assert stored_tokens.sweep(services, actor=SCHEDULER) == 0
    assert ENDED in books(bank)


def test_what_a_destroyed_key_sealed_is_deleted_with_it(bank: Bank) -> None:
    keys, name = bank.services.keys, f"token/{DOMAIN}"
    (about,) = (each for each in keys.versions() if each.name == name)
    assert usage_of(bank.services, about) == {"stored tokens": people().height}
    keys.lifecycle.rotate(name, actor="admin")
    keys.lifecycle.disable(name, 1, actor="admin")
    assert swept(bank) == 0
    keys.lifecycle.destroy(name, 1, actor="admin")
    assert (swept(bank), books(bank)) == (1, [])


def test_after_an_older_copy_a_rotation_goes_on_and_the_end_of_the_key_lets_erase(bank: Bank) -> None:
    services, name, petra = bank.services, f"token/{DOMAIN}", bank.person("petra")
    with services.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM token_page")
    asked = Asked(PRODUCT, "accounts", "login", 1, "fraud", bank.released("login")[:1])
    with pytest.raises(IntegrityError, match="an older copy was put back"):
        reveal(services, asked, petra)
    with pytest.raises(IntegrityError, match="an older copy was put back"):
        erase(services, PRODUCT, "person-3", petra)
    services.keys.lifecycle.rotate(name, actor="admin")
    bank.build()
    assert sorted(book.version for book in books(bank)) == [1, 2]
    assert not set(bank.released("login", 2)) & set(bank.released("login", 1))
    services.keys.lifecycle.disable(name, 1, actor="admin")
    services.keys.lifecycle.destroy(name, 1, actor="admin")
    assert swept(bank) == 1
    assert erase(services, PRODUCT, "person-3", petra).standing == [f"{PRODUCT}/releases/2: pending"]


def test_a_leaked_key_is_told_with_all_that_it_sealed(bank: Bank) -> None:
    done = emergency(bank.services, bank.person("admin"), f"token/{DOMAIN}")
    assert done.anew == {"stored tokens": people().height}
    services = bank.services
    bank.build()
    assert sorted(book.version for book in books(bank)) == [1, 2]
    assert not set(bank.released("login", 2)) & set(bank.released("login", 1))
    asked = Asked(PRODUCT, "accounts", "login", 2, "fraud")
    assert set(reveal(services, asked, bank.person("petra")).frame["value"]) == set(people()["login"])


def test_a_person_is_erased_though_the_first_call_died_before_the_rows_were(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite = type(bank.services.keys.stored_tokens).rewrite

    def die(*given: object) -> None:
        rewrite(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("secure_platform.keys.stored_tokens.StoredTokens.rewrite", die)
        with pytest.raises(KeyboardInterrupt):
            erase(bank.services, PRODUCT, "person-3", bank.person("petra"))
    tombstone = erase(bank.services, PRODUCT, "person-3", bank.person("petra"))
    assert len([each for each in tombstone.deleted if "stored tokens" in each]) == 1
    assert bank.services.keys.stored_tokens.count(DOMAIN) == people().height - 1


def test_nothing_is_deleted_of_who_is_on_hold(bank: Bank) -> None:
    bank.services.holds.set(bank.person("petra"), bank.resource, "24-cv-0117", None)
    erase(bank.services, PRODUCT, "person-3", bank.person("petra"))
    assert bank.services.keys.stored_tokens.count(DOMAIN) == people().height


def test_a_value_that_somebody_else_has_too_stays(bank: Bank) -> None:
    product = bank.services.product(PRODUCT)
    plan = current_plan(product, bank.services.keys)
    assert vaults(plan) == {DOMAIN: {("people", "login")}}
    shared = {"person-3": "one", "person-4": "one", "person-5": "two"}
    rows = pl.LazyFrame({"id": list(shared), "login": list(shared.values())})
    for person, own in (("person-3", set()), ("person-5", {"two"})):
        values: Values = {("people", "id"): {person}}

        def parted(_: Contract, mine: str = person) -> list[tuple[pl.LazyFrame, pl.Expr]]:
            return [(rows, pl.col("id") == mine)]

        assert own_values(product, {("people", "login")}, values, parted) == own


@pytest.fixture
def sister(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """The same home, in a project with another product whose logins have the bank's stored tokens."""
    both = bank.with_own_project(tmp_path / "both", monkeypatch)
    folder = both.made / "project" / "defs" / "sister"
    copytree(folder.with_name(PRODUCT), folder)
    (folder / "aggregates.yaml").unlink()
    for path in (folder / "defs.yaml", *folder.glob("contracts/*.yaml")):
        text = path.read_text("utf-8").replace(f"name: {PRODUCT}", "name: sister")
        text = text.replace(f'"dataProduct":"{PRODUCT}"', '"dataProduct":"sister"')
        path.write_text(text.replace('"value":"person"', '"value":"client"'), encoding="utf-8")
    return both


def resource_of(bank: Bank, product: str) -> ProductResource:
    return ProductResource(product, bank.services.settings.environment, bank.resource.classification)


def test_tokens_that_another_product_on_hold_has_stay_and_are_deleted_when_it_is_lifted(sister: Bank) -> None:
    services, petra = sister.services, sister.person("petra")
    services.holds.set(petra, resource_of(sister, "sister"), "24-cv-0117", None)
    held = erase(services, PRODUCT, "person-3", petra)
    assert services.keys.stored_tokens.count(DOMAIN) == people().height
    assert len([each for each in held.held if "1 stored tokens" in each]) == 1
    assert not [each for each in held.deleted if "stored tokens" in each]
    assert not held.complete
    services.holds.lift(petra, resource_of(sister, "sister"), "24-cv-0117", ())
    freed = erase(services, PRODUCT, "person-3", petra)
    assert services.keys.stored_tokens.count(DOMAIN) == people().height - 1
    assert (freed.held, len([each for each in freed.deleted if "stored tokens" in each])) == ([], 1)


def test_where_it_cannot_be_told_what_is_on_hold_no_token_is_deleted(
    sister: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, petra = sister.services, sister.person("petra")
    monkeypatch.setattr(
        services.holds, "all", lambda product=None: [] if product else [Hold("gone", "24-cv-0117", None)]
    )
    assert [each for each in erase(services, PRODUCT, "person-3", petra).held if "stored tokens" in each]
    assert services.keys.stored_tokens.count(DOMAIN) == people().height


def test_a_value_that_somebody_has_in_another_product_keeps_its_token(sister: Bank) -> None:
    store, petra = sister.services.store, sister.person("petra")
    rows = store.scan(store.head(PRODUCT, "people", Zone.RAW) or pytest.fail("no rows"))
    mine = rows.filter(pl.col("id").is_in(["person-3", "person-4"])).with_columns(
        id=pl.when(pl.col("id") == "person-3").then(pl.lit("client-9")).otherwise("id")
    )
    contract = sister.services.product("sister").contracts["people"]
    with store.draft("sister", "people", Zone.RAW, actor="test") as draft:
        draft.write(mine.filter(pl.col("id") == "client-9"))
        draft.commit(
            input_key="k",
            contract_version=contract.version,
            contract_digest=contract.digest,
            provenance={},
        )
    assert LINE in mine.collect_schema()
    for person, left in (("person-3", people().height), ("person-5", people().height - 1)):
        tombstone = erase(sister.services, PRODUCT, person, petra)
        assert sister.services.keys.stored_tokens.count(DOMAIN) == left
        assert tombstone.held == []


def test_what_only_a_release_has_is_on_hold_with_its_product(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = bank.services
    plan = current_plan(services.product(PRODUCT), services.keys)
    bare = {name: each for name, each in plan.datasets.items() if name != "people"}
    monkeypatch.setattr(plans, "current_plan", lambda *_: type(plan)(**{**vars(plan), "datasets": bare}))
    assert stored_tokens.held_domains(services, [Hold(PRODUCT, "24-cv-0117", None)], Plans(services)) == {
        DOMAIN
    }


def test_a_release_whose_rows_are_named_by_tokens_that_are_gone_is_not_called_free_of_somebody(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, petra = bank.services, bank.person("petra")
    plan = current_plan(services.product(PRODUCT), services.keys)
    columns = plan.datasets["people"].columns
    (login,) = (each for each in columns if each.column == "login")
    named = tuple(replace(login, column="id") if each.column == "id" else each for each in columns)
    datasets = {**plan.datasets, "people": replace(plan.datasets["people"], columns=named)}
    monkeypatch.setattr(Plans, "released", lambda *_: replace(plan, datasets=datasets))
    (book,) = books(bank)
    services.keys.stored_tokens.close(book)
    head = services.store.head(PRODUCT, "people", Zone.RAW)
    with pytest.raises(UsageError, match=f"ended on {book.until} and are deleted"):
        erase(services, PRODUCT, "person-3", petra)
    assert services.store.head(PRODUCT, "people", Zone.RAW) == head
    for file in (bank.home / "releases").glob(f"{PRODUCT}/*/payload/*"):
        file.unlink()
    assert erase(services, PRODUCT, "person-3", petra).rewritten


def test_snapshots_without_a_package_that_are_named_by_tokens_that_are_gone_are_deleted(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest, which another build makes anew, refuses before anything is changed."""
    services, petra, product = bank.services, bank.person("petra"), bank.services.product(PRODUCT)
    present = Plans(services).of(product)
    people = present[0].datasets["people"]
    (login,) = (each for each in people.columns if each.column == "login")
    named = replace(
        people,
        columns=tuple(
            replace(login, column="id") if each.column == "id" else each for each in people.columns
        ),
    )
    earlier = replace(present[0], datasets={**present[0].datasets, "people": named})
    monkeypatch.setattr(Plans, "of", lambda *_: [*present, earlier])
    newest = services.store.head(PRODUCT, "people", Zone.PROTECTED) or pytest.fail("no snapshot")
    mart = services.store.head(PRODUCT, "accounts", Zone.MARTS) or pytest.fail("no mart")
    older = written(bank, newest, plan_digest(named), [])
    made_of_it = written(bank, mart, "", [{"dataset": "people", "snapshot_id": older.snapshot_id}])
    values: Values = {("people", "id"): {"person-3"}}

    def lost() -> list[Snapshot]:
        return list(searchable.unsearchable(services, product, [*present, earlier], values, {}))

    assert lost() == [], "while their tokens are there, they are searched"
    (book,) = books(bank)
    services.keys.stored_tokens.close(book)
    assert [each.snapshot_id for each in lost()] == [made_of_it.snapshot_id, older.snapshot_id]
    with pytest.raises(UsageError, match="newest accounts in marts are named by stored tokens that"):
        erase(services, PRODUCT, "person-3", petra)
    assert services.keys.any_erased("person") is False, "nothing was changed"
    for snapshot in (newest, mart):
        services.store.set_head(snapshot, actor="t")
    deleted = erase(services, PRODUCT, "person-3", petra).deleted
    for snapshot in (older, made_of_it):
        assert any(each.endswith(f"{snapshot.snapshot_id}{WHOLE}") for each in deleted)
    assert lost() == []


def written(bank: Bank, like: Snapshot, plan: str, inputs: list[dict[str, str]]) -> Snapshot:
    """A newer snapshot with the same rows, of another origin."""
    store = bank.services.store
    with store.draft(PRODUCT, like.dataset, like.zone, actor="t") as draft:
        draft.write(store.scan(like).with_columns(pl.all().str.replace_all("_", "-")))
        return draft.commit(
            input_key=plan or "k",
            contract_version=like.contract_version,
            contract_digest=like.contract_digest,
            provenance={**like.provenance, "plan": plan, "inputs": inputs},
        )


def test_each_signed_manifest_is_verified_once(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[str]()

    def counted(services: Services, record: ReleaseRecord) -> SignedManifest:
        seen.append(record.digest)
        return signed_package(services, record)

    monkeypatch.setattr(plans, "signed_package", counted)
    erase(bank.services, PRODUCT, "person-3", bank.person("petra"))
    assert len(seen) == len(bank.services.gate.list(PRODUCT)) == 1


def test_a_manifest_that_is_changed_during_an_erasure_is_not_taken_for_the_verified_one(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = searchable.unsearchable

    def changed(*given: object) -> Iterator[Snapshot]:
        for path in (bank.home / "releases").glob(f"{PRODUCT}/*/manifest.json"):
            path.write_bytes(path.read_bytes().replace(b"login", b"nigol"))
        return forget(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(erasing, "unsearchable", changed)
    with pytest.raises(IntegrityError, match="no signature over"):
        erase(bank.services, PRODUCT, "person-3", bank.person("petra"))
