"""Unchanged data keep their stored tokens, ended ones are deleted, of an erased person none is left."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from bank_home import PRODUCT, Bank, people

from secure_platform.keys.stored_tokens import Book
from secure_platform.orchestration.steps import stored_tokens
from secure_platform.orchestration.steps.emergency import emergency
from secure_platform.orchestration.steps.erase import erase
from secure_platform.orchestration.steps.key_usage import usage_of
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.orchestration.steps.reveal import Asked, reveal
from secure_platform.protect.person import own_values, vaults
from secure_platform.services import SCHEDULER
from secure_platform.store.snapshot import Zone

DOMAIN = "vault:bank.people.login"
TODAY = datetime.now(UTC).date()
ENDED = Book(DOMAIN, 1, TODAY - timedelta(days=1), "hex")


def books(bank: Bank) -> list[Book]:
    return bank.services.keys.stored_tokens.books()


def put(bank: Bank, book: Book) -> None:
    bank.services.keys.stored_tokens.append(book, 0, lambda _, __: [(b"sealed", 1)])


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
    with pytest.raises(Exception, match="do not any more"):
        reveal(services, asked, bank.person("petra"))


def test_what_ended_is_deleted_and_nothing_else(bank: Bank) -> None:
    (live,) = books(bank)
    put(bank, ENDED)
    put(bank, Book("vault:elsewhere", 3, date(2020, 1, 1), "uuid"))
    put(bank, last := Book("vault:elsewhere", 3, TODAY, "uuid"))
    assert swept(bank) == 2
    assert books(bank) == [live, last]
    assert swept(bank) == 0
    told = [
        entry.body for entry in bank.services.audit.entries() if entry.body["action"] == stored_tokens.ENDED
    ]
    assert [body["phase"] for body in told] == ["intent", "done"] * 2
    assert told[0]["subject"] == f"token/{DOMAIN}/1 until {ENDED.until}"


def test_what_is_on_hold_is_kept_but_told_to_nobody(bank: Bank) -> None:
    services, petra = bank.services, bank.person("petra")
    put(bank, ENDED)
    other = Book("vault:elsewhere", 1, ENDED.until, "hex")
    put(bank, other)
    services.holds.set(petra, bank.resource, "24-cv-0117", None)
    assert (swept(bank), ENDED in books(bank), other in books(bank)) == (1, True, False)
    services.holds.lift(petra, bank.resource, "24-cv-0117", ())
    assert (swept(bank), ENDED in books(bank)) == (1, False)


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
        found = own_values(product, {("people", "login")}, {("people", "id"): {person}}, lambda _: [rows])
        assert found == own
