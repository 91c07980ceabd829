"""Protected values become what they were for who may, for a purpose, a few at a time, on record."""

import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from bank_home import PEOPLE, PRODUCT, Bank, cards, people

from secure_platform.access.allowance import Allowance, AllowanceSpentError
from secure_platform.access.principals import ANONYMOUS, Principal
from secure_platform.control.database import utc_now
from secure_platform.errors import AccessDeniedError, IntegrityError, UsageError
from secure_platform.key_settings import RevealSettings
from secure_platform.orchestration.steps import reveal as step
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.orchestration.steps.reveal import Asked, Revealed, reveal
from secure_platform.protect.execute import apply
from secure_platform.protect.plan import DatasetPlan, Plan
from secure_platform.services import Services
from secure_platform.taxonomy.classification import Classification

SECRET = ("Given", "Family", "person-", "@example.com", "answer ", "login-", "400000000", "contact ")


def ask(bank: Bank, column: str, cells: list[str] | None = None, **more: Any) -> Revealed:
    caller: Principal = more.pop("caller", bank.person("petra"))
    services: Services = more.pop("services", bank.services)
    table, _, name = column.partition(".")
    given = {"release": 1, "purpose": "fraud", **more}
    return reveal(services, Asked(PRODUCT, table, name, cells=cells, **given), caller)


def limited(bank: Bank, **limits: int) -> Services:
    return Services(bank.settings.model_copy(update={"reveal": RevealSettings(**limits)}))


def entries(bank: Bank) -> list[dict[str, Any]]:
    return [
        dict(entry.body) for entry in bank.services.audit.entries() if entry.body["action"] == step.AUDITED
    ]


@pytest.mark.parametrize(
    ("column", "place", "originals"),
    [
        ("accounts.name", "people.name", people()["name"]),
        ("accounts.mail", "people.mail", people()["mail"]),
        ("accounts.card", "cards.card", cards()["card"]),
        ("accounts.note", "cards.note", cards()["note"].unique()),
        ("accounts.person", "people.id", people()["id"]),
        ("accounts.login", "people.login", people()["login"]),
        ("accounts.contact", "cards.contact", cards()["contact"]),
    ],
)
def test_a_released_column_is_revealed_whole(
    bank: Bank, column: str, place: str, originals: pl.Series
) -> None:
    revealed = ask(bank, column)
    assert (revealed.place, revealed.unknown) == (place, 0)
    cells = set(bank.released(column.partition(".")[2]))
    assert set(revealed.frame["cell"]) == cells
    assert sorted(set(revealed.frame["value"])) == sorted(originals)
    begun, done = entries(bank)
    assert begun["detail"] == {
        "amount": len(cells),
        "purpose": "fraud",
        "release": bank.services.gate.list(PRODUCT)[0].digest,
        "transform": begun["detail"]["transform"],
    }
    assert begun["subject"] == f"bank/{place}"
    assert done["detail"] == {"revealed": len(cells), "unknown": 0}


@pytest.mark.parametrize("place", ["mail", "phones"])
def test_a_value_in_released_json_is_revealed_whole_and_by_its_cells(bank: Bank, place: str) -> None:
    documents = [json.loads(text)[place] for text in cards()["details"]]
    originals = [each for found in documents for each in (found if isinstance(found, list) else [found])]
    revealed = ask(bank, f"accounts.details.{place}")
    assert (revealed.place, revealed.unknown) == (f"cards.details.{place}", 0)
    assert sorted(revealed.frame["value"]) == sorted(originals)
    begun, done = entries(bank)
    assert (begun["subject"], begun["detail"]["amount"]) == (f"bank/cards.details.{place}", len(originals))
    assert done["detail"] == {"revealed": len(originals), "unknown": 0}
    asked = revealed.frame["cell"].to_list()[2::-1]
    again = ask(bank, f"cards.details.{place}", asked).frame
    assert again.rows() == revealed.frame.rows()[2::-1]
    for caller in (bank.person("dana"), bank.person("sam")):
        with pytest.raises(AccessDeniedError, match="data_reveal"):
            ask(bank, f"cards.details.{place}", asked, caller=caller)


def test_single_cells_are_revealed_in_their_order_and_each_once(bank: Bank) -> None:
    tokens = bank.released("person")
    asked = [tokens[4], tokens[0], tokens[4], "t1_" + "0" * 32]
    revealed = ask(bank, "cards.person", asked)
    assert revealed.frame["cell"].to_list() == [tokens[4], tokens[0], asked[3]]
    values = revealed.frame["value"].to_list()
    assert set(values[:2]) <= set(people()["id"])
    assert values[2] is None
    assert revealed.unknown == 1


def test_nobody_else_reveals_anything(bank: Bank) -> None:
    for caller in (bank.person("dana"), bank.person("sam"), bank.person("admin"), ANONYMOUS):
        with pytest.raises(AccessDeniedError, match="data_reveal"):
            ask(bank, "accounts.name", caller=caller)
    for purpose in (None, "marketing"):
        with pytest.raises(AccessDeniedError, match="forbid-revealing-without-purpose"):
            ask(bank, "accounts.name", purpose=purpose)
    for column in ("accounts.nothing", "accounts.secret"):
        with pytest.raises(AccessDeniedError, match="data_reveal"):
            ask(bank, column, caller=bank.person("dana"), release=9)
    assert entries(bank) == []


def test_the_policy_sees_what_the_values_are_in_the_clear(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, seen = bank.services, []
    require = services.policy.require

    def asked(caller: Principal, action: Any, resource: Any) -> Any:
        seen.append(resource)
        return require(caller, action, resource)

    monkeypatch.setattr(services.policy, "require", asked)
    ask(bank, "accounts.name", services=services)
    assert [each.classification for each in seen] == [Classification.RESTRICTED]


@pytest.mark.parametrize("column", ["accounts.secret", "people.secret"])
def test_what_is_one_way_on_purpose_stays_so(bank: Bank, column: str) -> None:
    with pytest.raises(UsageError, match="nobody can undo"):
        ask(bank, column, ["h1_" + "0" * 32])


@pytest.mark.parametrize(
    "column",
    [
        "accounts.nothing",
        "people.nothing",
        "nothing.name",
        "people",
        "accounts.details",
        "cards.details.no",
        "",
    ],
)
def test_what_is_not_there_is_said(bank: Bank, column: str) -> None:
    with pytest.raises(UsageError, match="has no column"):
        ask(bank, column, ["e1_x"])


def test_a_column_of_two_is_not_taken_for_one(bank: Bank) -> None:
    with pytest.raises(UsageError, match="does not come from one column alone"):
        ask(bank, "accounts.mixed")
    with pytest.raises(UsageError, match="no table people"):
        ask(bank, "people.name")


def test_cells_that_are_not_the_columns_own_are_refused_whole(bank: Bank) -> None:
    mail, name = bank.released("mail")[0], bank.released("name")[0]
    changed = mail[:-6] + ("A" if mail[-6] != "A" else "B") + mail[-5:]
    cases = [
        ("people.mail", [mail, changed]),
        ("people.mail", [mail, name]),
        ("people.mail", [mail.replace("e1_", "e2_", 1)]),
        ("people.mail", ["person1@example.com"]),
        ("people.mail", ["e1_", "e1_AAAA"]),
        ("cards.card", ["4000000000000002", "123"]),
        ("cards.card", ["person1@example.com"]),
    ]
    for column, cells in cases:
        with pytest.raises(IntegrityError) as refused:
            ask(bank, column, cells)
        assert not any(text in str(refused.value) for text in (*SECRET, *cells))
    assert [entry["phase"] for entry in entries(bank)] == ["intent", "failed"] * len(cases)


def test_another_products_cells_do_not_open(bank: Bank) -> None:
    """The same text, encrypted for a column of the same name of another product."""
    services = bank.services
    signed = signed_package(services, services.gate.list(PRODUCT)[0])
    plan = Plan.from_json(signed.contents.plan.document).datasets["people"]
    (column,) = [each for each in plan.outputs if each.column == "mail"]
    other = DatasetPlan("people", (replace(column, token_domain="cell/shop.people.mail"),))
    cells = apply(other, people().lazy(), services.keys).collect()["mail"]
    with pytest.raises(IntegrityError, match="cell"):
        ask(bank, "people.mail", cells.to_list())


def test_after_a_rotation_a_release_opens_with_the_version_that_made_it(bank: Bank) -> None:
    keys = bank.services.keys
    for name in (
        "cell/bank.people.mail",
        "token/person",
        "token/fpe:bank.cards.card",
        "token/vault:login",
    ):
        keys.lifecycle.rotate(name, actor="admin")
    assert set(ask(bank, "accounts.mail").frame["value"]) == set(people()["mail"])
    assert set(ask(bank, "accounts.person").frame["value"]) == set(people()["id"])
    assert set(ask(bank, "accounts.card").frame["value"]) == set(cards()["card"])
    assert set(ask(bank, "accounts.login").frame["value"]) == set(people()["login"])
    for name, column in (
        ("cell/bank.people.mail", "accounts.mail"),
        ("token/person", "accounts.person"),
        ("token/vault:login", "accounts.login"),
    ):
        keys.lifecycle.disable(name, 1, actor="admin")
        with pytest.raises(IntegrityError, match="disabled"):
            ask(bank, column)
        keys.lifecycle.destroy(name, 1, actor="admin")
        with pytest.raises(IntegrityError, match="destroyed"):
            ask(bank, column)


def test_what_is_under_a_destroyed_persons_key_is_gone_and_nothing_else(bank: Bank) -> None:
    keys = bank.services.keys
    keys.destroy_subject_key("person", "person-3", actor="petra")
    revealed = ask(bank, "accounts.mail")
    assert set(people()["mail"]) - set(revealed.frame["value"]) == {"person3@example.com"}
    assert (revealed.unknown, ask(bank, "accounts.note").unknown) == (1, 2)
    assert ask(bank, "accounts.name").unknown == 0
    plan = Plan.from_json(
        signed_package(bank.services, bank.services.gate.list(PRODUCT)[0]).contents.plan.document
    )
    again = apply(plan.datasets["people"], people().lazy(), keys).collect()
    assert again["mail"].is_null().to_list() == [number == 3 for number in range(PEOPLE)]


def test_tokens_whose_rows_are_gone_stay_what_they_are(bank: Bank) -> None:
    shutil.rmtree(bank.home / "lake" / PRODUCT / "raw" / "people")
    with pytest.raises(IntegrityError, match="is missing"):
        ask(bank, "people.id", bank.released("person"))


def test_who_revealed_enough_waits(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    services = limited(bank, values_per_hour=PEOPLE + 1, calls_per_hour=9)
    tokens = bank.released("person")
    assert ask(bank, "accounts.name", services=services).frame.height == PEOPLE
    for _ in range(3):
        with pytest.raises(AllowanceSpentError, match="within an hour"):
            ask(bank, "people.id", tokens[:2] + tokens[-2:], services=services)
    assert ask(bank, "people.id", [tokens[0]], services=services).unknown == 0
    with pytest.raises(AllowanceSpentError):
        ask(bank, "people.id", [tokens[0]], services=limited(bank, values_per_hour=PEOPLE + 1))
    assert ask(bank, "people.id", [tokens[0]], services=services, caller=bank.person("paul")).unknown == 0
    later = utc_now() + timedelta(hours=1, seconds=1)
    monkeypatch.setitem(Allowance.__init__.__kwdefaults__ or {}, "clock", lambda: later)
    assert ask(bank, "people.id", [tokens[0]], services=services).unknown == 0


def test_a_call_while_the_clock_was_wrong_hides_none_before_it(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, token = limited(bank, calls_per_hour=1), bank.released("person")[0]
    ask(bank, "people.id", [token], services=services)
    with monkeypatch.context() as patch:
        patch.setattr("secure_platform.audit.log._now", lambda: "2026-01-01T00:00:00.000000Z")
        ask(bank, "people.id", [token], services=services, caller=bank.person("paul"))
    with pytest.raises(AllowanceSpentError, match="2 calls"):
        ask(bank, "people.id", [token], services=services)


def test_many_small_calls_are_many_calls(bank: Bank) -> None:
    services, token = limited(bank, calls_per_hour=2), bank.released("person")[0]
    for _ in range(2):
        ask(bank, "people.id", [token], services=services)
    with pytest.raises(AllowanceSpentError, match="3 calls"):
        ask(bank, "people.id", [token], services=services)


def test_a_rotation_of_the_key_that_names_people_gives_no_new_allowance(bank: Bank) -> None:
    services, token = limited(bank, calls_per_hour=1), bank.released("person")[0]
    ask(bank, "people.id", [token], services=services)
    bank.services.keys.lifecycle.rotate("digest", actor="admin")
    with pytest.raises(AllowanceSpentError):
        ask(bank, "people.id", [token], services=limited(bank, calls_per_hour=1))


def test_who_lowers_the_count_reveals_nothing_more(bank: Bank) -> None:
    ask(bank, "accounts.name")
    with sqlite3.connect(bank.home / "audit.db") as connection:
        lower = """UPDATE entry SET body =
            CAST(replace(CAST(body AS TEXT), '"amount":30', '"amount":10') AS BLOB)
            WHERE instr(body, '"data.reveal"')"""
        assert connection.execute(lower).rowcount == 2
    connection.close()
    with pytest.raises(IntegrityError, match="does not match the hash"):
        ask(bank, "people.id", bank.released("person"))


def test_no_value_and_no_cell_is_in_the_log(bank: Bank) -> None:
    mails = bank.released("mail")
    ask(bank, "people.mail", mails)
    with pytest.raises(IntegrityError):
        ask(bank, "people.mail", [*mails, "e1_" + "A" * 44])
    log = json.dumps([entry.body for entry in bank.services.audit.entries()], default=str)
    assert not [text for text in (*SECRET, *mails) if text in log]
