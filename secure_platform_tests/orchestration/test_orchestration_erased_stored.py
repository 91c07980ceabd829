"""What is stored under contracts and plans that are gone is erased, too, or it is said what is left."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import polars as pl
import pytest
from bank_home import PRODUCT, Bank, cards, people
from contract_body import contract_body as contract
from small_product import product_context, prop

from secure_platform.access.resources import ProductResource
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.erase import erase, identifier
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.orchestration.steps.tombstone import UNTOLD, WHOLE, Tombstone
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.store.snapshot import Snapshot, Zone

PERSON = "person-3"


@pytest.fixture
def free(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """The bank's home, whose release was rejected, with a project that can be changed."""
    (record,) = bank.services.gate.list(PRODUCT)
    bank.services.gate.reject(record.digest, bank.person("sam"), reason="made anew")
    free = bank.with_own_project(tmp_path / "free", monkeypatch)
    (folder(free) / "aggregates.yaml").unlink()
    return free


def folder(bank: Bank) -> Path:
    return bank.made / "project" / "defs" / PRODUCT


def erased(bank: Bank, person: str = PERSON, product: str = PRODUCT) -> Tombstone:
    return erase(bank.services, product, person, bank.person("petra"))


def left(bank: Bank, zone: Zone, dataset: str) -> list[pl.DataFrame]:
    store = bank.services.store
    return [store.scan(each).collect() for each in store.stored(PRODUCT, zone) if each.dataset == dataset]


def head(bank: Bank, zone: Zone, dataset: str) -> Snapshot:
    found = bank.services.store.head(PRODUCT, dataset, zone)
    assert found is not None
    return found


def without_cards(bank: Bank) -> None:
    (folder(bank) / "contracts" / "cards.odcs.yaml").unlink()


def cards_that_name_nobody(bank: Bank) -> None:
    path = folder(bank) / "contracts" / "cards.odcs.yaml"
    body = json.loads(path.read_text("utf-8"))
    (schema,) = body["schema"]
    schema["properties"] = [each for each in schema["properties"] if each["name"] not in {"person", "note"}]
    path.write_text(json.dumps(body), encoding="utf-8")


@pytest.mark.parametrize("change", [without_cards, cards_that_name_nobody])
def test_rows_that_a_contract_of_a_release_tells_of_go_though_none_of_today_does(
    free: Bank, change: Callable[[Bank], None]
) -> None:
    change(free)
    tombstone = erased(free)
    assert tombstone.complete
    (raw,) = left(free, Zone.RAW, "cards")
    assert (raw.height, PERSON in set(raw["person"])) == (cards().height - 2, False)
    assert [each.height for each in left(free, Zone.PROTECTED, "cards")] == [cards().height - 2]
    assert erased(free, "person-77").rewritten == []


@pytest.fixture
def removed(free: Bank) -> Bank:
    """A project that has another product with the same persons in place of the bank."""
    there = folder(free).with_name("sister")
    copytree(folder(free), there)
    rmtree(folder(free))
    for path in (there / "defs.yaml", *there.glob("contracts/*.yaml")):
        text = path.read_text("utf-8").replace(f"name: {PRODUCT}", "name: sister")
        path.write_text(
            text.replace(f'"dataProduct":"{PRODUCT}"', '"dataProduct":"sister"'), encoding="utf-8"
        )
    return free


def test_rows_of_a_product_that_was_removed_are_named_and_it_is_not_complete(removed: Bank) -> None:
    names = {head(removed, Zone.RAW, name).title for name in ("people", "cards")}
    tombstone = erased(removed, product="sister")
    assert (tombstone.products, tombstone.complete) == (["sister"], False)
    assert set(tombstone.standing) == {f"{name}{UNTOLD}" for name in names}
    assert erased(removed, "person-77", "sister").complete, "who is in none of its rows"


def test_a_hold_on_a_product_that_was_removed_keeps_the_key_of_who_is_in_it(removed: Bank) -> None:
    services, petra = removed.services, removed.person("petra")
    resource = ProductResource(PRODUCT, services.settings.environment, removed.resource.classification)
    services.holds.set(petra, resource, "24-cv-0117", None)
    assert erased(removed, product="sister").held == ["bank: 24-cv-0117"]
    assert not services.keys.any_erased("person")


def made_otherwise(bank: Bank, dataset: str) -> Snapshot:
    """A newest protected snapshot, whose tokens and plan are neither of today nor of a release."""
    store, like = bank.services.store, head(bank, Zone.PROTECTED, dataset)
    with store.draft(PRODUCT, dataset, Zone.PROTECTED, actor="t") as draft:
        draft.write(store.scan(like).with_columns(pl.all().str.reverse()))
        return draft.commit(
            input_key="k",
            contract_version=like.contract_version,
            contract_digest=like.contract_digest,
            provenance={**like.provenance, "plan": "sha256:gone"},
        )


def test_tokens_of_a_plan_that_is_gone_are_deleted_with_all_rows_and_the_newest_refuses(free: Bank) -> None:
    newest = head(free, Zone.PROTECTED, "people")
    other = made_otherwise(free, "people")
    with pytest.raises(UsageError, match="or by a plan that is gone"):
        erased(free)
    assert not free.services.keys.any_erased("person"), "nothing was changed"
    free.services.store.set_head(newest, actor="t")
    tombstone = erased(free)
    assert f"{other.title}{WHOLE}" in tombstone.deleted
    assert tombstone.complete
    assert [each.height for each in left(free, Zone.PROTECTED, "people")] == [people().height - 1]


def test_tokens_of_a_plan_that_is_gone_stay_and_are_named_where_no_build_makes_them_anew(free: Bank) -> None:
    other = made_otherwise(free, "cards")
    without_cards(free)
    tombstone = erased(free)
    assert (tombstone.standing, tombstone.complete) == ([f"{other.title}{UNTOLD}"], False)
    assert head(free, Zone.PROTECTED, "cards").snapshot_id == other.snapshot_id


def pulled_otherwise(bank: Bank, dataset: str, rows: pl.DataFrame) -> Snapshot:
    """A newest raw snapshot of a contract that is gone."""
    store = bank.services.store
    numbers = pl.int_range(1, rows.height + 1, dtype=pl.UInt64, eager=True).alias("__line")
    with store.draft(PRODUCT, dataset, Zone.RAW, actor="t") as draft:
        draft.write(rows.insert_column(0, numbers).lazy())
        return draft.commit(
            input_key="k", contract_version="9.0.0", contract_digest="sha256:gone", provenance={}
        )


def test_raw_rows_of_a_contract_that_is_gone_are_deleted_whole_if_one_of_them_has_the_person(
    free: Bank,
) -> None:
    newest = {name: head(free, Zone.RAW, name) for name in ("people", "cards")}
    knows = pulled_otherwise(free, "people", pl.DataFrame({"partner": [PERSON, "x"], "row": ["a", "b"]}))
    refers = pulled_otherwise(free, "cards", pl.DataFrame({"of": ["a", "b"]}))
    with pytest.raises(UsageError, match=r"newest raw snapshot of .* was pulled under another contract"):
        erased(free)
    for snapshot in newest.values():
        free.services.store.set_head(snapshot, actor="t")
    assert not [each for each in erased(free, "person-77").deleted if each.endswith(WHOLE)]
    deleted = erased(free).deleted
    assert [each for each in deleted if each.endswith(WHOLE)] == [
        f"{refers.title}{WHOLE}",
        f"{knows.title}{WHOLE}",
    ], "that by which the others are known is the last"


def test_raw_rows_of_a_dataset_and_contract_that_are_gone_stay_and_are_named(free: Bank) -> None:
    there = pulled_otherwise(free, "gone", pl.DataFrame({"partner": [PERSON]}))
    tombstone = erased(free)
    assert (tombstone.standing, tombstone.complete) == ([f"{there.title}{UNTOLD}"], False)
    assert erased(free, "person-77").complete


NUMBERED = contract(
    "people",
    [
        prop("id", "integer", "confidential", primaryKey=True, infoType="RECORD_ID", subjectId=True),
        prop("dx"),
    ],
)


def test_a_person_is_one_in_whatever_spelling_or_none(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["7", "8"], "dx": ["flu", "cold"]})
    made = product_context(tmp_path, "gdpr_pseudonymous", [NUMBERED], {"people": frame})
    services = Services(load_settings(home=tmp_path / "home", defs=tmp_path / "defs"))
    context = replace(made, services=services, product=services.product("small"))
    pull(context, "people")
    protect(context, "people")
    petra = services.principals.add("petra", kind="user", roles=("privacy_officer",), actor="admin")
    for wrong in ("08", " 8", "8.0", "+8", "eight", ""):
        with pytest.raises(UsageError, match="identifier is spelled") as refused:
            erase(services, "small", wrong, petra)
        assert wrong.strip() == "" or wrong not in str(refused.value)
        with pytest.raises(UsageError, match="identifier is spelled"):
            identifier(services, "small.people.id", wrong)
    assert not services.keys.any_erased("small.people.id")
    tombstone = erase(services, "small", "8", petra)
    assert (len(tombstone.rewritten), tombstone.complete) == (2, True)
    for zone in (Zone.RAW, Zone.PROTECTED):
        kept = services.store.head("small", "people", zone)
        assert kept is not None
        assert services.store.scan(kept).collect()["dx"].to_list() == ["flu"]
