"""A draft is what its profile promises: parts of names stay parts, what is unique stays so, k is reached."""

from pathlib import Path

from draft_support import drafts, files, loaded

from secure_platform.contract.model import Protect
from secure_platform.scan.draft.columns import TableDraft

FIRST, LAST = ("Anna", "Bob", "Carl", "Dora"), ("Meier", "Smith", "Brown", "Li")
ROWS = 120


def people(folder: Path, profile: str) -> TableDraft:
    rows = [
        f"{1000 + n},{FIRST[n % 4]},{LAST[n % 3]},{FIRST[n % 4]} {LAST[n % 3]},"
        f"{101 + n}-{10 + n % 80}-{1000 + n},1970-{1 + n % 12:02}-{1 + n % 28:02},{n % 3 * 10 + 30},a note\n"
        for n in range(ROWS)
    ]
    header = "person_id,first_name,LastName,full_name,ssn,birth_date,age,remark\n"
    return drafts(files(folder, {"people.csv": header + "".join(rows)}), profile)["people"]


def protects(draft: TableDraft) -> dict[str, Protect | None]:
    contract = loaded(draft)
    return {each.name: contract.column(each.name).protect for each in draft.columns}


def test_test_data_make_up_parts_of_names_and_keep_unique_what_was(tmp_path: Path) -> None:
    draft = people(tmp_path / "data", "test_data")
    found = protects(draft)
    assert found["first_name"] == Protect("fake", {"as": "first_name"})
    assert found["LastName"] == Protect("fake", {"as": "last_name"})
    assert found["full_name"] == Protect("fake")
    assert draft.column("ssn").unique
    assert found["ssn"] == Protect("tokenize")
    assert found["birth_date"] == Protect("generalize", {"to": "month"})
