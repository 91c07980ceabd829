"""Dependencies are proposed where enough rows agree, by codes and names, and never by chance."""

import random
from pathlib import Path

from draft_support import drafts, files, loaded

from secure_platform.contract.model import Dependency

SHOPS = 20
RNG = random.Random(5)  # noqa: S311 - makes test data


def table(folder: Path, header: str, rows: list[str]) -> tuple[Dependency, ...]:
    (draft,) = drafts(files(folder, {"table.csv": "\n".join([header, *rows]) + "\n"})).values()
    contract = loaded(draft)
    assert contract.dependencies == draft.dependencies
    assert bool(draft.dependencies) == any("dependencies" in doubt for doubt in draft.doubts)
    return contract.dependencies


def pairs(found: tuple[Dependency, ...]) -> set[tuple[str, str]]:
    return {("+".join(each.columns), name) for each in found for name in each.determined}


def shop(number: int) -> str:
    return f"S{number:03},{('Oak', 'Elm', 'Ash', 'Fir')[number % 4]}-{number // 4},{'NSEW'[number % 4]}x"


def test_what_a_code_determines_is_proposed_and_not_the_other_way_round(
    tmp_path: Path,
) -> None:
    rows = [f"{shop(n % SHOPS)},{RNG.randrange(9)}" for n in range(200)]
    found = pairs(table(tmp_path, "shop_code,town,area,score", rows))
    assert found == {("shop_code", "town"), ("shop_code", "area"), ("town", "shop_code"), ("town", "area")}


def test_one_row_against_it_is_enough_and_an_empty_cell_is_none(tmp_path: Path) -> None:
    rows = [f"{shop(n % SHOPS)}" for n in range(200)]
    holed = [rows[0].rpartition(",")[0] + ",", *rows[1:]]
    assert ("shop_code", "area") in pairs(table(tmp_path / "a", "shop_code,town,area", holed))
    # Beyond the first rows, which are looked at first.
    late = [*(shop(n % SHOPS) for n in range(2_100)), "S000,Oak-0,Zx"]
    found = pairs(table(tmp_path / "b", "shop_code,town,area", late))
    assert ("shop_code", "town") in found
    assert not any(name == "area" for _, name in found)


def test_few_groups_and_pairs_of_rows_prove_nothing(tmp_path: Path) -> None:
    few = [shop(n % 14) for n in range(200)]
    assert table(tmp_path / "a", "shop_code,town,area", few) == ()
    rarely = [shop(n % 60) for n in range(100)]
    assert table(tmp_path / "b", "shop_code,town,area", rarely) == ()


def test_chance_proves_nothing(tmp_path: Path) -> None:
    """Of a column that is nearly always the same everything seems to know the value."""
    rows = [f"C{n % 20:02},{'no' if n % 20 else 'yes'},{n}" for n in range(60)]
    assert pairs(table(tmp_path, "code,flag,count", rows)) == set()


def test_times_measures_and_names_of_people_determine_nothing(tmp_path: Path) -> None:
    first, colours = ["Ann", "Bob", "Cid", "Dora", "Eve"], ["red", "green", "blue", "grey"]
    people = [f"{first[n % 5]} Smith{chr(97 + n % 20)},{colours[n % 4]}" for n in range(280)]
    rows = [f"2026-01-{n % 28 + 1:02},{n % 28 * 1.5},{who},{n % 28}" for n, who in enumerate(people)]
    found = table(tmp_path, "visit_date,cost,patient_name,colour,quantity", rows)
    assert not any({"visit_date", "cost", "patient_name", "quantity"} & {*each.columns} for each in found)


def test_what_is_made_of_several_columns_is_determined_by_all_of_them(tmp_path: Path) -> None:
    """Even where one of them is always the same: it need not stay so."""
    rows = [f"al,ami-{n % 20},al_ami-{n % 20},Heart {chr(97 + n % 20)}" for n in range(200)]
    found = pairs(table(tmp_path, "state,measure_code,state_average,measure_name", rows))
    assert ("state+measure_code", "state_average") in found
    assert not {("measure_code", "state_average"), ("measure_name", "state_average")} & found
    assert ("measure_code", "measure_name") in found


def test_a_key_determines_everything_and_is_not_told(tmp_path: Path) -> None:
    rows = [f"{n},{shop(n % SHOPS)}" for n in range(200)]
    assert not any("id" in each.columns for each in table(tmp_path, "id,shop_code,town,area", rows))


def test_a_wide_table_is_looked_at_in_part(tmp_path: Path) -> None:
    names = [f"c{place}" for place in range(120)]
    rows = [
        ",".join([*(f"v{(n * place) % 31}" for place in range(120)), shop(n % SHOPS)]) for n in range(150)
    ]
    found = pairs(table(tmp_path, ",".join([*names, "shop_code", "town", "area"]), rows))
    assert ("shop_code", "c0") not in found
    assert len({name for pair in found for name in pair}) <= 80
