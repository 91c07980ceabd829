"""`erase` and `hold`: who it is comes from files and standard input, and is never shown."""

import io
import json
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from bank_home import PRODUCT, Bank
from cli_support import Cli

from secure_platform.orchestration.steps.erase import erase, identities_of

WHO = "person-3"


@pytest.fixture
def who(tmp_path: Path) -> str:
    (tmp_path / "who").write_text(f"{WHO}\n")
    return str(tmp_path / "who")


def test_a_person_is_erased_and_held_by_name_in_a_file(bank: Bank, who: str) -> None:
    cli = Cli(bank.home)
    asked = ("bank", "24-cv-1", "--subject", who)
    assert "is on hold" in cli("hold", "set", *asked, token="petra").out
    (held,) = cli("hold", "list", "--json", token="petra").json
    assert (held["product"], held["matter"]) == ("bank", "24-cv-1")
    assert cli("erase", "bank", "--subject", who, "--yes", "--json", token="petra").json["held"] == [
        "bank: 24-cv-1"
    ]
    assert "not on hold for 24-cv-1 any more" in cli("hold", "lift", *asked, token="petra").out
    shown = cli("erase", "bank", "--subject", who, "--yes", token="petra")
    assert shown.code == 0
    for text in (
        "bank/people.mail",
        "Rewritten without the person:",
        "bank/releases/1: pending",
        "say it again",
    ):
        assert text in shown.out
    assert WHO not in shown.out


def test_who_it_is_is_not_taken_from_the_command_line(bank: Bank) -> None:
    cli = Cli(bank.home)
    for words in (("erase", "bank"), ("hold", "set", "bank", "24-cv-1"), ("hold", "lift", "bank", "24-cv-1")):
        for given in (WHO, f"--{WHO}"):
            refused = cli(*words, given, token="petra")
            assert refused.code == 2
            assert WHO not in refused.out + refused.err


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"\xff", b"x" * 2000])
def test_one_line_names_one_person(bank: Bank, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    refused = Cli(bank.home)("erase", "bank", "--subject", "-", "--yes", token="petra")
    assert (refused.code, refused.out) == (2, "")


def test_without_a_terminal_nobody_is_asked_who_it_is(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"somebody\nsomebody\ny\n")))
    refused = Cli(bank.home)("erase", "bank", token="petra")
    assert (refused.code, "--subject" in refused.err) == (2, True)


def test_it_is_asked_before_it_is_done(bank: Bank, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"n\n")))
    assert Cli(bank.home)("erase", "bank", "--subject", who, token="petra").code == 130
    assert not (bank.home / "erasures").exists()


def test_who_is_in_no_data_is_said_not_to_be_found(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "who").write_text("person-77\n")
    shown = Cli(bank.home)("erase", "bank", "--subject", str(tmp_path / "who"), "--yes", token="petra")
    assert (shown.code, "Nothing of them was found" in shown.out) == (0, True)


def test_a_hold_is_on_somebody_who_can_be_in_the_data(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Path(copytree(bank.made / "project", tmp_path / "project"))
    for path in (project / "defs" / PRODUCT / "contracts").iterdir():
        body = json.loads(path.read_text("utf-8"))
        for each in body["schema"][0]["properties"]:
            if each["name"] in {"id", "person"}:
                each["logicalType"] = "integer"
        path.write_text(json.dumps(body), encoding="utf-8")
    monkeypatch.setenv("SECURE_PLATFORM_PROJECT", str(project))
    cli, asked = Cli(bank.home), ("bank", "24-cv-1", "--subject", str(tmp_path / "who"))
    (tmp_path / "who").write_text("07\n")
    refused = cli("hold", "set", *asked, token="petra")
    assert (refused.code, "identifier is spelled" in refused.err, "07" in refused.err) == (2, True, False)
    assert bank.services.holds.all() == []
    former = identities_of(bank.services, "person", "07")[0]
    bank.services.holds.set(bank.person("petra"), bank.resource, "24-cv-1", former)
    assert cli("hold", "lift", *asked, token="petra").code == 0, (
        "what was set before it was asked for its type"
    )
    (tmp_path / "who").write_text("7\n")
    assert cli("hold", "set", *asked, token="petra").code == 0
    (hold,) = bank.services.holds.all()
    assert hold.person in identities_of(bank.services, "person", "7")


def test_who_may_not_is_refused(bank: Bank, who: str) -> None:
    cli = Cli(bank.home)
    for token in ("sam", None):
        assert cli("erase", "bank", "--subject", who, "--yes", token=token).code == 4
    assert cli("hold", "list", token="dana").code == 4


def test_a_release_without_its_payload_can_still_be_compared(bank: Bank) -> None:
    for file in (bank.home / "releases" / "bank" / "1" / "payload").iterdir():
        file.unlink()
    cli = Cli(bank.home)
    assert "Nothing differs." in cli("plan", "bank", "--since", "1").out
    assert cli("release", "diff", "bank", "1", "1").code == 0
    assert cli("release", "verify", "bank", "1").code == 5


def erased(bank: Bank) -> str:
    """Erase somebody from the bank's release, which was rejected; returns the name of the tombstone."""
    (record,) = bank.services.gate.list(PRODUCT)
    bank.services.gate.reject(record.digest, bank.person("sam"), reason="made anew")
    tombstone = erase(bank.services, PRODUCT, WHO, bank.person("petra"))
    return f"erasures/{tombstone.person.removeprefix('p:')}.json"


def test_the_command_line_shows_it_and_what_became_of_its_rows(bank: Bank) -> None:
    cli = Cli(bank.home)
    assert cli("release", "show", PRODUCT, "1", "--json").json["erased"] is None
    tombstone = erased(bank)
    assert (bank.home / tombstone).is_file()
    shown = cli("release", "show", PRODUCT, "1")
    assert shown.code == 0
    text = " ".join(shown.out.split())
    assert "has no rows any more: they were deleted on " in text
    assert f"for somebody was erased, see {tombstone} in the home." in text
    assert f"build another release, secure-platform run {PRODUCT}." in text
    gone = cli("release", "show", PRODUCT, "1", "--json").json["erased"]
    assert gone["tombstone"] == tombstone
    refused = cli("release", "verify", PRODUCT, "1")
    assert (refused.code, "were deleted on" in refused.err, "estore it" in refused.err) == (4, True, False)


def test_rows_that_nobody_erased_are_missing_as_before(bank: Bank) -> None:
    for file in (bank.home / "releases" / PRODUCT / "1" / "payload").iterdir():
        file.unlink()
    refused = Cli(bank.home)("release", "show", PRODUCT, "1")
    assert (refused.code, "restore it from a copy" in " ".join(refused.err.split())) == (5, True)


def test_a_hold_on_a_product_that_left_the_project_can_be_lifted(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = Cli(bank.home)
    assert cli("hold", "set", PRODUCT, "24-cv-1", token="petra").code == 0
    project = copytree(bank.services.settings.project, tmp_path / "project")
    rmtree(next(project.rglob(f"defs/{PRODUCT}")))
    monkeypatch.setenv("SECURE_PLATFORM_PROJECT", str(project))
    assert cli("hold", "lift", PRODUCT, "24-cv-1", token="petra").code == 0
    assert cli("hold", "list", "--json", token="petra").json == []
