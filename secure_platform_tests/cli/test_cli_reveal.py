"""`reveal`: cells come from files and standard input, values go to people and to new files only."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bank_home import Bank, cards, people
from cli_support import Cli, Result

from secure_platform.protect.vault import last_day

FRAUD = ("--purpose", "fraud", "--release", "1")


def reveal(bank: Bank, *arguments: str, token: str | None = "petra") -> Result:
    return Cli(bank.home)("reveal", "bank", *arguments, token=token)


def test_cells_come_from_standard_input(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = bank.released("mail")[0]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{mail}\r\n\n{mail}\n".encode())))
    shown = reveal(bank, "people.mail", *FRAUD, "--values", "-", "--json")
    (row,) = shown.json["revealed"]
    assert (row["cell"], row["value"] in set(people()["mail"])) == (mail, True)
    assert {name: shown.json[name] for name in ("column", "release", "unknown")} == {
        "column": "people.mail",
        "release": 1,
        "unknown": 0,
    }


def test_cells_come_from_a_column_of_a_file_as_we_export_it(bank: Bank, tmp_path: Path) -> None:
    table = tmp_path / "export.csv"
    rows = "".join(f'{number},"{card}"\n' for number, card in enumerate(bank.released("card")))
    table.write_text(f"number,card\n{rows}")
    asked = ("cards.card", *FRAUD, "--values", str(table), "--from", "card")
    out = tmp_path / "cards.csv"
    assert f"60 rows are in {out}" in reveal(bank, *asked, "--out", str(out)).out
    assert out.stat().st_mode & 0o777 == 0o600
    with out.open(newline="") as file:
        assert sorted(row["value"] for row in csv.DictReader(file)) == sorted(cards()["card"])
    assert reveal(bank, *asked, "--out", str(out)).code == 2
    assert "not CSV with a column mail" in reveal(bank, *asked[:-1], "mail").err


def test_a_plan_says_until_when_stored_tokens_are_told(bank: Bank) -> None:
    (row,) = [line for line in Cli(bank.home)("plan", "bank").out.splitlines() if line.startswith("login")]
    assert f"vault until {last_day(datetime.now(UTC).date(), 3650)}" in row


def test_a_table_for_people_says_what_is_unknown(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("t1_00000000000000000000000000000000\n")
    shown = reveal(bank, "people.id", *FRAUD, "--values", str(tmp_path / "tokens"))
    assert "(1 of people.id, release 1; 1 unknown)" in shown.out


def test_a_cell_in_the_command_line_is_refused_and_not_repeated(bank: Bank) -> None:
    for given in ("e1_abcdefgh", "--e1_abcdefgh"):
        refused = reveal(bank, "people.mail", given, *FRAUD)
        assert refused.code == 2
        assert "abcdefgh" not in refused.out + refused.err


def test_what_cannot_be_read_is_refused(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("binary", "missing", ""):
        refused = reveal(bank, "people.mail", *FRAUD, "--values", str(tmp_path / name))
        assert (refused.code, refused.out) == (2, "")


def test_refusals_have_their_exit_codes(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("e1_AAAA\n")
    asked = ("people.mail", *FRAUD, "--values", str(tmp_path / "cells"))
    assert reveal(bank, *asked).code == 5
    assert reveal(bank, *asked, token="sam").code == 4
    assert reveal(bank, *asked, token=None).code == 4
    assert reveal(bank, "people.mail", "--purpose", "fraud").code == 2
