"""Secrets in columns: every cell, by value; in bounds; beside what the scanner finds by names."""

from collections.abc import Mapping, Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_samples import ENGINE, sample

from secure_platform.errors import DataRefusedError
from secure_platform.scan.columns import Finding, Scanner
from secure_platform.scan.refusals import residual
from secure_platform.scan.secrets import columns
from secure_platform.scan.secrets.columns import scan_columns, signed
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.engine import Hit
from secure_platform.scan.secrets.findings import MINIMUM_CONFIDENCE
from secure_platform.taxonomy.info_types import info_types

SCANNER = Scanner(info_types())
RULES = own_rules().rules
TOKEN = sample(RULES["github-pat"]).strip().decode()
KEY = sample(RULES["private-key"]).decode()
FILLER = ["nothing", None, "", "a note about the password policy", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"]


def rows(cells: list[str | None]) -> dict[str, int]:
    frame = pl.LazyFrame({"note": cells}, schema={"note": pl.String})
    return {each.info_type: each.rows for each in scan_columns(ENGINE, frame)}


def scan(table: Mapping[str, Sequence[str | None]]) -> dict[tuple[str, str], Finding]:
    return {(each.column, each.info_type): each for each in SCANNER.scan(pl.LazyFrame(table))}


def test_cells_are_counted_by_type() -> None:
    cells = [*FILLER, TOKEN, f"see {TOKEN}", TOKEN, KEY, f"{TOKEN} and {TOKEN}", *FILLER]
    assert rows(cells) == {"PRIVATE_KEY": 1, "SECRET_TOKEN": 4}


def test_cells_are_counted_across_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_BATCH", 7)
    assert rows([*FILLER, TOKEN] * 50) == {"SECRET_TOKEN": 50}


def announced(number: int, *, secret: bool) -> str:
    """Cells that are all different and all searched: they name what only some of them hold."""
    return f"{number} {TOKEN if secret else TOKEN[:12]}"


@pytest.mark.parametrize(("every", "least", "most"), [(1, 1000, 1000), (2, 400, 600)])
def test_where_most_of_many_cells_hold_a_secret_a_sample_is_searched(
    monkeypatch: pytest.MonkeyPatch, every: int, least: int, most: int
) -> None:
    searched: list[bytes] = []
    hits = ENGINE.hits

    def counted(cell: bytes) -> list[Hit]:
        searched.append(cell)
        return hits(cell)

    monkeypatch.setattr(columns, "SAMPLE", 100)
    monkeypatch.setattr(ENGINE, "hits", counted)
    cells = [announced(number, secret=number % every == 0) for number in range(1000)]
    (found,) = scan_columns(ENGINE, pl.LazyFrame({"note": cells}))
    assert least <= found.rows <= most
    assert columns.ESTIMATED in found.reasons
    assert len(searched) == 100


def test_a_single_secret_among_many_cells_that_look_like_one_is_found_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(columns, "SAMPLE", 10)
    for place in (0, 501, 999):
        frame = pl.LazyFrame({"note": [announced(number, secret=number == place) for number in range(1000)]})
        (found,) = scan_columns(ENGINE, frame)
        assert found.rows == 1
        assert columns.ESTIMATED not in found.reasons


def test_repeated_cells_are_searched_once_and_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "SAMPLE", 10)
    cells = [*FILLER, announced(1, secret=True), announced(2, secret=True)] * 200
    assert rows(cells) == {"SECRET_TOKEN": 400}


def test_a_cell_hides_nothing_in_the_next_one() -> None:
    assert rows(["the password:", TOKEN, "key = ", TOKEN]) == {"SECRET_TOKEN": 2}


def test_nested_cells_are_searched() -> None:
    frame = pl.LazyFrame({"note": [{"a": ["x", TOKEN]}, {"a": []}]})
    (found,) = scan_columns(ENGINE, frame)
    assert (found.column, found.rows) == ("note", 1)


def test_bytes_are_refused() -> None:
    with pytest.raises(DataRefusedError, match="note"):
        scan_columns(ENGINE, pl.LazyFrame({"note": [TOKEN.encode()]}))


def test_a_table_without_text_has_none() -> None:
    assert scan_columns(ENGINE, pl.LazyFrame({"n": [1, 2]})) == []
    assert rows([]) == {}


PIECES = [
    "",
    "x" * 9,
    TOKEN,
    "password",
    "password=",
    "key:",
    "\n",
    "a\nb" * 4,
    "é" * 8,
    f"t {TOKEN} t",
    "%41%42%43",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_pass_over_a_batch_misses_no_cell_that_holds_a_secret(cells: list[str]) -> None:
    chosen = {cell for cell, _ in signed(ENGINE, pl.Series("cell", cells, dtype=pl.String)).iter_rows()}
    assert {cell for cell in cells if ENGINE.hits(cell.encode())} <= chosen
    assert rows([*cells]).get("SECRET_TOKEN", 0) == sum(TOKEN in cell for cell in cells)


@pytest.mark.parametrize("name", [rule.id for rule in RULES.values() if rule.most >= MINIMUM_CONFIDENCE])
def test_what_a_rule_finds_in_a_file_it_finds_in_a_cell(name: str) -> None:
    text = sample(RULES[name])
    if not any(hit.rule.id == name and hit.confidence >= MINIMUM_CONFIDENCE for hit in ENGINE.hits(text)):
        pytest.skip("too plain a sample to be reported")
    assert RULES[name].info_type in rows([*FILLER, text.decode()])


def test_the_scanner_reports_them_beside_everything_else() -> None:
    found = scan({"mail": ["jane@example.org"] * 3, "note": [TOKEN, "x", None]})
    assert set(found) == {("mail", "EMAIL"), ("note", "SECRET_TOKEN")}
    finding = found["note", "SECRET_TOKEN"]
    assert (finding.count, finding.ratio) == (1, 0.5)
    assert finding.confidence > 0.9
    assert "GitHub personal access token (classic)" in finding.reasons
    assert residual([finding]) == [finding]


def test_a_telling_name_is_enough_and_what_protection_leaves_is_not() -> None:
    found = scan({"password": ["correct horse", "tr0ub4dor&3"], "api_key": ["Zq3xR7-1kPw9TnLs", None]})
    assert {place: finding.count for place, finding in found.items()} == {
        ("password", "PASSWORD"): 2,
        ("api_key", "SECRET_TOKEN"): 1,
    }
    left: Mapping[str, Sequence[str | None]] = {
        "password": ["[REDACTED]", "t1_" + "a" * 32],
        "reset_password_at": ["2024-01-31", None],
    }
    assert not [finding for finding in scan(left).values() if finding.info_type == "PASSWORD"]


def test_no_part_of_a_secret_is_in_a_finding() -> None:
    findings = SCANNER.scan(pl.LazyFrame({"note": [TOKEN, KEY]}))
    assert len(findings) == 2
    assert TOKEN[4:12] not in repr(findings)
