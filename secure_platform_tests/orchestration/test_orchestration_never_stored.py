"""What a profile never lets be stored is in no file of the home, not even encrypted."""

from pathlib import Path

import polars as pl
import pytest
from contract_body import contract_body as contract
from small_product import product_context, prop
from stdnum import luhn

from secure_platform.errors import DataRefusedError
from secure_platform.orchestration.steps import pull as pull_step
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.store.snapshot import Zone

ROWS = 60
BODIES = [f"4{number * 7919 % 10**14:014}" for number in range(ROWS)]
PANS = [body + luhn.calc_check_digit(body) for body in BODIES]
CARD = [
    prop("id", "integer", "confidential", primaryKey=True, infoType="RECORD_ID"),
    prop("pan", level="restricted", infoType="CREDIT_CARD"),
]
CODE = prop("cvv", level="restricted", infoType="CARD_SECURITY_CODE")


def context(folder: Path, properties: list[dict[str, object]], *, track: bool = False) -> StepContext:
    frame = pl.DataFrame(
        {"id": range(ROWS), "pan": PANS, "cvv": [f"{n * 37 % 1000:03}" for n in range(ROWS)]}
    )
    if track:
        frame = frame.with_columns(("%B" + frame["pan"] + "^DOE/JANE^29121011234567890?").alias("stripe"))
    body = contract("payments", properties, extraColumns="keep_raw")
    return product_context(folder, "pci", [body], {"payments": frame})


def test_the_code_of_a_card_is_left_out_when_the_source_is_read(tmp_path: Path) -> None:
    made = context(tmp_path, [*CARD, CODE])
    raw = pull(made, "payments").snapshot
    stored = made.services.store.scan(raw).collect()
    assert stored["cvv"].null_count() == ROWS
    assert stored["pan"].to_list() == PANS
    snapshot = protect(made, "payments").snapshot
    assert {name: v.detail for name, v in snapshot.verdicts.items() if not v.passed} == {}
    protected = made.services.store.scan(snapshot).collect()
    assert protected.columns == ["id", "pan"]
    assert protected["pan"].to_list() == [f"{pan[:6]}******{pan[-4:]}" for pan in PANS]


def test_a_stripe_that_no_contract_names_refuses_the_data_and_nothing_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = context(tmp_path, [*CARD, CODE], track=True)
    with pytest.raises(DataRefusedError, match=r"payments\.stripe holds CARD_TRACK_DATA; PCI DSS 3\.3\.1\.1"):
        pull(made, "payments")
    assert made.services.store.head("small", "payments", Zone.RAW) is None
    assert not list((tmp_path / "home" / "lake").rglob("*.parquet"))
    monkeypatch.setattr(pull_step, "_refuse_unstorable", lambda *_: None)
    assert pull(made, "payments").snapshot, "without the rule it is committed"
