"""What can be undone goes the way of all data: it passes the checks, and opens with its key."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from contract_body import contract_body
from stdnum import luhn

from secure_platform import canonical
from secure_platform.contract.product import COMPONENT, Product, load_product
from secure_platform.homes import initialise
from secure_platform.orchestration.data_map import data_map
from secure_platform.orchestration.lineage import ColumnLineage
from secure_platform.orchestration.steps import protect as protect_step
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.marts import formats_kept
from secure_platform.orchestration.steps.protect import current_plan, protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.protect.execute import undo
from secure_platform.protect.residual import ANY
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.store.snapshot import Snapshot

ROWS = 300
DEFINITION = f"""\
type: {COMPONENT}
attributes:
  name: bank
  owner: team:test
  description: Made-up cards.
  profile: gdpr_pseudonymous
  models: [none]
"""
NUMBERED = {"pattern": "^[0-9]{16}$"}
WHEN_KNOWN = {
    "transform": "conditional",
    "when": {"column": "income", "at_least": 50_000},
    "then": "replace",
    "otherwise": {"transform": "mask", "keep_last": 2},
}
COLUMNS: list[tuple[str, str, dict[str, Any], Any]] = [
    ("id", "string", {"infoType": "RECORD_ID"}, {"transform": "tokenize", "format": "uuid"}),
    ("card", "string", {}, {"transform": "fpe", "checksum": "luhn"}),
    ("mail", "string", {}, {"transform": "encrypt", "mode": "deterministic"}),
    ("note", "string", {}, {"transform": "encrypt", "mode": "randomized"}),
    ("income", "integer", {}, {"transform": "noise", "amount": 100}),
    ("score", "integer", {}, "shuffle"),
    ("seen", "timestamp", {}, {"transform": "generalize", "to": "hour"}),
    ("town", "string", {"infoType": "CITY"}, "replace"),
    ("remark", "string", {}, "scrub"),
    ("reached", "string", {}, WHEN_KNOWN),
]
DETAILS = {
    "name": "details",
    "logicalType": "object",
    "classification": "restricted",
    "properties": [
        {
            "name": "mail",
            "logicalType": "string",
            "classification": "restricted",
            "customProperties": [
                {"property": "infoType", "value": "EMAIL"},
                {"property": "tokenDomain", "value": "mail"},
            ],
        },
        {"name": "kind", "logicalType": "string", "classification": "public"},
    ],
}


def contract() -> dict[str, Any]:
    properties = [
        {
            "name": name,
            "logicalType": kind,
            # A condition goes by the income; on a restricted column it would be refused.
            "classification": "confidential" if name == "income" else "restricted",
            **({"primaryKey": True} if name == "id" else {}),
            **({"logicalTypeOptions": NUMBERED} if name == "card" else {}),
            "customProperties": [
                {"property": key, "value": value} for key, value in {**custom, "protect": asked}.items()
            ],
        }
        for name, kind, custom, asked in COLUMNS
    ]
    return contract_body("cards", [*properties, DETAILS])


def rows() -> pl.DataFrame:
    draw = random.Random(7)  # noqa: S311 - made-up data
    bodies = [f"4{draw.randrange(10**14):014}" for _ in range(ROWS)]
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=7 * i) for i in range(ROWS)]
    return pl.DataFrame(
        {
            "id": [f"record-{i}" for i in range(ROWS)],
            "card": [body + luhn.calc_check_digit(body) for body in bodies],
            "mail": [f"person{i % 50}@example.com" for i in range(ROWS)],
            "note": [f"called on day {i} by person{i}@example.com" for i in range(ROWS)],
            "income": [draw.randrange(20_000, 90_000) for _ in range(ROWS)],
            "score": [draw.randrange(1000) for _ in range(ROWS)],
            "seen": [time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in times],
            "town": ["Boston"] * ROWS,
            "remark": [f"asked person{i % 9}@example.org to call again" for i in range(ROWS)],
            "reached": [f"in room {i:03} of house" for i in range(ROWS)],
            "details": [
                f'{{"mail": "person{i}@example.net", "kind": "x", "secret": "y"}}' for i in range(ROWS)
            ],
        }
    )


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    folder = tmp_path / "defs" / "bank"
    (folder / "contracts").mkdir(parents=True)
    (folder / "defs.yaml").write_text(DEFINITION)
    (folder / "contracts" / "cards.odcs.yaml").write_bytes(canonical.dumps(contract()))
    source = tmp_path / "source"
    source.mkdir()
    rows().write_csv(source / "cards.csv")
    settings = load_settings(home=tmp_path / "home")
    initialise(settings)
    return StepContext(Services(settings), load_product(folder), "run", "service:scheduler", source)


def opened(context: StepContext, product: Product, snapshot: Snapshot) -> pl.DataFrame:
    plan = current_plan(product, context.services.keys).datasets["cards"]
    return undo(plan, context.services.store.scan(snapshot).collect(), context.services.keys)


def test_a_product_of_every_new_kind_is_protected_passes_and_opens_again(context: StepContext) -> None:
    pull(context, "cards")
    snapshot = protect(context, "cards").snapshot
    assert {name: verdict.detail for name, verdict in snapshot.verdicts.items() if not verdict.passed} == {}
    made, before = context.services.store.scan(snapshot).collect(), rows()
    assert all(luhn.is_valid(card) for card in made["card"])
    assert made["mail"].n_unique() == 50
    assert made["note"].n_unique() == ROWS
    assert made["town"].to_list() == ["[CITY]"] * ROWS
    assert set(made["remark"]) == {"asked [EMAIL] to call again"}
    rich = before["income"] >= 50_000
    assert ((made["reached"] == "[REDACTED]") == rich).all()
    assert made["details"].str.contains(r'^\{"mail": "t1_[0-9a-f]{32}", "kind": "x"\}$').all()
    assert ((made["income"] - before["income"]).abs() <= 100).all()
    assert opened(context, context.product, snapshot).equals(before.select("card", "mail", "note"))
    keys = {about.name for about in context.services.keys.versions()}
    assert {"cell/bank.cards.mail", "cell/bank.cards.note", "token/fpe:bank.cards.card"} <= keys
    drawn = data_map(context.product, current_plan(context.product, context.services.keys))
    (place,) = (place for place in drawn.places if place.name == "protected")
    assert {"cell", "token"} <= set(place.keys)
    assert protect(context, "cards").snapshot.snapshot_id == snapshot.snapshot_id, "it is found again"


def test_the_scanner_does_find_card_numbers_that_kept_their_format(
    context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only because the plan says that a column keeps its format is its form no residue."""
    pull(context, "cards")
    monkeypatch.setattr(protect_step, "kept_formats", lambda _: {})
    verdict = protect(context, "cards").snapshot.verdicts["residual"]
    assert not verdict.passed
    assert {found["column"] for found in verdict.detail["findings"]} == {"card"}
    assert verdict.detail["original_values"] == []


def test_a_mart_column_that_comes_from_nothing_else_keeps_the_format_too(context: StepContext) -> None:
    card, mail = ("cards", "card"), ("cards", "mail")
    lineages: dict[str, ColumnLineage] = {
        "first": {"number": (card,), "both": (card, mail), "sealed": (mail,), "constant": ()},
        "second": {"again": (("first", "number"),), "other": (("first", "both"),), "card": (mail,)},
    }
    plans = current_plan(context.product, context.services.keys).datasets
    assert formats_kept(plans, lineages, "first") == {"number": frozenset({ANY})}
    assert formats_kept(plans, lineages, "second") == {"again": frozenset({ANY})}


def test_after_a_rotation_cells_have_the_new_key_and_old_ones_still_open(context: StepContext) -> None:
    keys = context.services.keys
    pull(context, "cards")
    old, was = protect(context, "cards").snapshot, current_plan(context.product, keys).datasets["cards"]
    keys.lifecycle.rotate("cell/bank.cards.mail", actor="admin")
    assert current_plan(context.product, keys).token_versions["cell/bank.cards.mail"] == 2
    new = protect(context, "cards").snapshot
    assert new.snapshot_id != old.snapshot_id
    assert context.services.store.scan(new).collect()["mail"].str.starts_with("e2_").all()
    before = undo(was, context.services.store.scan(old).collect(), keys)
    assert before.equals(opened(context, context.product, new))
