"""What a profile or a waiver lets out as it is passes the checks, as what the contract says it is."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from contract_body import contract_body as contract
from small_product import product_context, prop

from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull

ROWS = 40
WAIVER = {"reason": "the recall", "approver": "dpo@example.org", "expires": "9999-12-31"}
FRAME = pl.DataFrame(
    {
        "id": range(1, ROWS + 1),
        "mail": [f"person{n}@example.org" for n in range(ROWS)],
        "city": [("Boston", "Salem", "Lowell")[n % 3] for n in range(ROWS)],
    }
)
ID = prop("id", "integer", "confidential", primaryKey=True, infoType="RECORD_ID")


def left(folder: Path, *properties: dict[str, Any]) -> list[tuple[str, str]]:
    """What the residual check finds."""
    context = product_context(
        folder, "gdpr_pseudonymous", [contract("people", [ID, *properties])], {"people": FRAME}
    )
    pull(context, "people")
    verdict = protect(context, "people").snapshot.verdicts["residual"]
    return [(found["column"], found["info_type"]) for found in verdict.detail["findings"]]


def kept(name: str, info_type: str, **more: Any) -> dict[str, Any]:
    body = prop(name, "string", "confidential", infoType=info_type, protect="keep")
    body["customProperties"] += [{"property": key, "value": value} for key, value in more.items()]
    return body


def test_what_a_waiver_and_a_rule_keep_is_no_residue(tmp_path: Path) -> None:
    assert left(tmp_path, kept("mail", "EMAIL", waiver=WAIVER), kept("city", "CITY")) == []


@pytest.mark.parametrize("said", ["USERNAME", "SOCIAL_HANDLE"])
def test_what_is_kept_as_something_else_is_residue(tmp_path: Path, said: str) -> None:
    found = left(tmp_path, kept("mail", said, waiver=WAIVER), kept("city", "CITY"))
    assert found == [("mail", "EMAIL")]
