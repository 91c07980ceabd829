"""A draft is what its profile promises: parts of names stay parts, what is unique stays so, k is reached."""

from pathlib import Path

from draft_support import drafts, files, loaded

from secure_platform.contract.model import Protect
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.proposal import AS_OF, _product
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


def compiles(found: list[TableDraft]) -> DatasetPlan:
    """The plan of the first of some drafts."""
    contracts = {each.dataset: loaded(each) for each in found}
    plan = compile_plan(_product(contracts, "census"), lambda _: 1, AS_OF)
    return plan.datasets[found[0].dataset]


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


def test_census_drafts_say_by_what_somebody_could_be_recognised(tmp_path: Path) -> None:
    draft = people(tmp_path / "data", "census")
    contract = loaded(draft)
    quasi = {column.name for column in contract.columns if column.quasi_identifier}
    assert quasi == {"birth_date", "age"}
    assert any("recognised by it" in doubt for doubt in draft.column("age").doubts)
    assert compiles([draft]).suppression is not None


def test_census_drafts_of_unknown_columns_take_all_that_says_something(tmp_path: Path) -> None:
    rows = "".join(f"{n % 4},{n % 3 + 20}\n" for n in range(ROWS))
    draft = drafts(files(tmp_path / "data", {"answers.csv": f"vote,size\n{rows}"}), "census")["answers"]
    assert {column.name for column in loaded(draft).columns if column.quasi_identifier} == {"vote", "size"}
    assert compiles([draft]).suppression is not None


def test_census_drafts_of_rows_that_go_with_people_rest_on_these(tmp_path: Path) -> None:
    persons = "".join(f"{1000 + n},{n % 3 * 10 + 30}\n" for n in range(ROWS))
    visits = "".join(f"{9000 + n},{1000 + n % ROWS},{n}.5\n" for n in range(2 * ROWS))
    tables = {
        "persons.csv": f"person_id,age\n{persons}",
        "visits.csv": f"visit_id,person_id,cost\n{visits}",
    }
    found = drafts(files(tmp_path / "data", tables), "census")
    marked = {name: [c.name for c in each.columns if c.quasi_identifier] for name, each in found.items()}
    assert marked == {"persons": ["age"], "visits": []}
    assert compiles([found["visits"], found["persons"]]).suppression is None
