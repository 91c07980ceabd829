"""Free text that was scrubbed keeps its words, and holds nothing that another column of the data holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from protect_examples import AS_OF, KEYS, column, contract, dataset_plan, product, refused, typed

from secure_platform.errors import ContractError
from secure_platform.protect.changes import WEAKER, changes
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.execute import apply
from secure_platform.protect.plan import Plan
from secure_platform.protect.residual import residual_values
from secure_platform.scan.columns import Scanner
from secure_platform.taxonomy.info_types import info_types

FREE = "gdpr_pseudonymous"
NOTE = column("note", level="restricted", protect="scrub")
NUMBER = column("number", level="restricted", info_type="US_SSN")
OWN = (
    "types:\n  CASE_NUMBER:\n    title: Case numbers\n    family: record\n    text_pattern: 'CASE-[0-9]{6}'\n"
)


def scrubbed(texts: list[str | None], **more: Any) -> list[str | None]:
    plan = dataset_plan(replace(NOTE, **more), profile=FREE)
    return apply(plan, typed([NOTE], {"note": texts}), KEYS).collect()["note"].to_list()


def in_folder(folder: Path, document: str) -> Plan:
    (folder / "info_types.yaml").write_text(document)
    return compile_plan(
        replace(product(contract("people", NOTE), profile=FREE), directory=folder), lambda _: 1, AS_OF
    )


def test_every_value_becomes_its_info_type_and_the_words_stay() -> None:
    text = "Mr. John Smith (SSN 219-09-9999, john@example.com) called 555-123-4567; card 4111 1111 1111 1111."
    assert scrubbed([text, None, text]) == [
        "Mr. [PERSON_NAME] (SSN [US_SSN], [EMAIL]) called [PHONE]; card [CREDIT_CARD].",
        None,
        "Mr. [PERSON_NAME] (SSN [US_SSN], [EMAIL]) called [PHONE]; card [CREDIT_CARD].",
    ]


def test_what_was_scrubbed_is_the_same_when_it_is_scrubbed_again_and_no_scan_finds_anything_in_it() -> None:
    texts: list[str | None] = [
        f"The patient said: password: hunter{i}xyz9, mail to person{i}@example.com, born 1980-01-{i:02}"
        for i in range(1, 20)
    ]
    once = scrubbed(texts)
    assert scrubbed(once) == once
    assert Scanner(info_types()).scan(pl.LazyFrame({"note": once})) == []


def test_a_value_of_another_column_that_the_scanner_does_not_know_is_found_afterwards() -> None:
    """Nine digits alone are no Social Security number for a scanner; as a cell of that column they are."""
    plan = dataset_plan(NOTE, NUMBER, profile=FREE)
    numbers = [f"21909{i:04}X" for i in range(3)]
    notes = ["feels well and goes home", f"see {numbers[1]} for more", "feels well and goes home"]
    before = typed([NOTE, NUMBER], {"note": notes, "number": numbers})
    after = apply(plan, before, KEYS)
    assert after.collect()["note"].to_list() == notes
    assert residual_values([(before, plan)], after, plan, bytes(32)) == [("note", 1)]


def test_info_types_of_the_product_are_part_of_the_plan(tmp_path: Path) -> None:
    plan = in_folder(tmp_path, OWN)
    frame = typed([NOTE], {"note": ["it was CASE-123456 again"]})
    assert (
        apply(plan.datasets["people"], frame, KEYS).collect()["note"].item() == "it was [CASE_NUMBER] again"
    )
    assert Plan.from_json(plan.to_json()) == plan
    more = in_folder(tmp_path, OWN + "allow:\n  EMAIL: [info@example.com]\n")
    (said,) = changes(plan.to_json(), more.to_json())
    assert WEAKER in said
    assert "CASE-" not in said
    (said,) = changes(more.to_json(), plan.to_json())
    assert WEAKER in said, "what is allowed changed: a reader decides"
    empty = in_folder(tmp_path, "extend: {}\n")
    assert [WEAKER in said for said in changes(empty.to_json(), plan.to_json())] == [False]


def test_a_document_of_info_types_that_is_not_understood_refuses_the_plan(tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        in_folder(tmp_path, "kinds: {}\n")


def test_a_profile_that_drops_free_text_is_not_content_with_scrubbing() -> None:
    assert "scrub is weaker than drop" in refused(NOTE, NUMBER)
