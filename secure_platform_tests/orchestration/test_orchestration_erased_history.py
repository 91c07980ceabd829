"""What the metrics history keeps of a person who was erased: counts of eleven and more, and it is told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from contract_body import contract_body as contract
from small_product import product_context, prop

from secure_platform.monitor.history import Record
from secure_platform.monitor.profile import SMALLEST
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.erase import erase
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.services import Services
from secure_platform.settings import load_settings

WARDS = ["east"] * 60 + ["rare"] * 10 + ["west"] * 11
PERSON = "person-65"
KNOWN = {
    "metric": "invalidValues",
    "arguments": {"validValues": ["east", "rare", "west"]},
    "mustBe": 0,
}
STAYS = [
    prop("id", level="restricted", primaryKey=True, infoType="RECORD_ID", subjectId=True, protect="tokenize"),
    prop("ward", protect="keep", quality=[KNOWN]),
    prop("days", "integer", protect="keep"),
]
FRAME = pl.DataFrame(
    {
        "id": [f"person-{number}" for number in range(len(WARDS))],
        "ward": WARDS,
        "days": [5] * 60 + [777] + [9] * 20,
    }
)


def context_of(folder: Path, **promised: Any) -> StepContext:
    body = {**contract("stays", STAYS), **promised}
    made = product_context(folder, "gdpr_pseudonymous", [body], {"stays": FRAME})
    services = Services(load_settings(home=folder / "home", defs=folder / "defs"))
    return replace(made, services=services, product=services.product("small"))


def records(services: Services) -> list[Record]:
    return [
        record for zone in ("raw", "protected") for record in services.metrics.before("small", "stays", zone)
    ]


def test_no_cell_of_fewer_than_eleven_is_kept_and_the_tombstone_names_what_was_counted(
    tmp_path: Path,
) -> None:
    context = context_of(tmp_path)
    services = context.services
    pull(context, "stays")
    protect(context, "stays")
    petra = services.principals.add("petra", kind="user", roles=("privacy_officer",), actor="admin")
    before = records(services)
    tombstone = erase(services, "small", PERSON, petra)
    zones = {place.split("/")[1] for place in tombstone.counted}
    assert zones == {"raw", "protected"}
    kept = records(services)
    assert kept == before, "what was counted stays as it was"
    (protected,) = (record for record in kept if record.zone == "protected")
    assert sorted(protected.sketches["ward"].values()) == [11, 60], "ten of a ward are no cell"
    cells = [count for sketch in protected.sketches.values() for count in sketch.values()]
    shares = [value for name, value in protected.numbers.items() if name.startswith("share:")]
    assert min(cells) >= SMALLEST
    assert min(shares) * len(WARDS) >= SMALLEST - 0.001
    assert not any(text in repr(kept) for text in ("rare", PERSON))
    assert "777" not in repr(protected.sketches)


def test_a_source_that_was_rewritten_is_as_fresh_as_before(tmp_path: Path) -> None:
    context = context_of(tmp_path, slaProperties=[{"property": "latency", "value": 26, "unit": "h"}])
    services = context.services
    pull(context, "stays")
    petra = services.principals.add("petra", kind="user", roles=("privacy_officer",), actor="admin")
    erase(services, "small", PERSON, petra)
    outcome = pull(context, "stays")
    assert outcome.snapshot.reused
    (fresh,) = [check for check in outcome.checks if check.name == "freshness"]
    assert (fresh.passed, fresh.detail["state"]) == (True, "pass")
