"""Which file is a dataset's source, and whether its header is the contract's."""

import dataclasses
from pathlib import Path

import pytest

from secure_platform.contract.model import Column, Contract
from secure_platform.errors import DataRefusedError
from secure_platform.source.csv import CsvSource, check_header, find_source
from secure_platform.taxonomy.classification import Classification

NAMES = ("Id", "BIRTHDATE", "GENDER", "ZIP")


@pytest.fixture
def contract() -> Contract:
    return Contract(
        dataset="patients",
        version="1.0.0",
        description="",
        owner="team:x",
        columns=tuple(Column(name, "string", "", Classification.INTERNAL) for name in NAMES),
        source_file="patients.csv",
        digest="",
    )


def refused(contract: Contract, header: tuple[str, ...]) -> str:
    with pytest.raises(DataRefusedError) as caught:
        check_header(contract, header)
    return str(caught.value)


def test_the_contract_columns_in_any_order(contract: Contract) -> None:
    assert check_header(contract, NAMES) == []
    assert check_header(contract, NAMES[::-1]) == []


def test_missing_columns_are_all_named(contract: Contract) -> None:
    message = refused(contract, ("Id", "ZIP"))
    assert "patients" in message
    assert "BIRTHDATE, GENDER" in message


@pytest.mark.parametrize("written", ["BirthDate", "BIRTH_DATE", " BIRTHDATE", "BIRTHDATES", "BIRTHDTE"])
def test_a_renamed_column_is_suggested(contract: Contract, written: str) -> None:
    message = refused(contract, ("Id", written, "GENDER", "ZIP"))
    assert "lacks columns: BIRTHDATE" in message
    assert f"Rename {written!r} to BIRTHDATE" in message


def test_a_first_line_of_data_is_not_shown(contract: Contract) -> None:
    # Near enough to a column's name to be suggested, were this a header.
    message = refused(contract, ("Genderly", "Zippo", "ID7", "Birthdaten"))
    assert not any(cell in message for cell in ("Genderly", "Zippo", "ID7", "Birthdaten"))


def test_extra_columns_follow_the_contract(contract: Contract) -> None:
    header = ("note", *NAMES, "x\x1b[31m\n", "y" * 500, *(f"z{i}" for i in range(20)))
    message = refused(contract, header)
    assert "23 columns" in message
    assert "'note'" in message
    assert "z19" not in message
    assert message.isprintable()
    assert len(message) < 400
    keeping = dataclasses.replace(contract, extra_columns="keep_raw")
    assert check_header(keeping, header) == [name for name in header if name not in NAMES]


def test_finds_the_file_or_its_gzip(tmp_path: Path, contract: Contract) -> None:
    with pytest.raises(DataRefusedError, match=r"no source file 'patients\.csv' of patients"):
        find_source(tmp_path, contract)
    plain, packed = tmp_path / "patients.csv", tmp_path / "patients.csv.gz"
    packed.write_bytes(b"")
    assert find_source(tmp_path, contract) == packed.resolve()
    plain.write_bytes(b"")
    with pytest.raises(DataRefusedError, match="Both"):
        find_source(tmp_path, contract)
    packed.unlink()
    assert find_source(tmp_path, contract) == plain.resolve()


def test_finds_a_file_in_a_linked_directory(tmp_path: Path, contract: Contract) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "patients.csv").write_bytes(b"a\n")
    (tmp_path / "link").symlink_to("real")
    assert CsvSource(find_source(tmp_path / "link", contract)).header == ("a",)


@pytest.mark.parametrize("target", ["../secret.csv", "sub/../../secret.csv"])
def test_no_link_leads_out(tmp_path: Path, contract: Contract, target: str) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (tmp_path / "secret.csv").write_bytes(b"a\n1\n")
    (source / "patients.csv").symlink_to(target)
    with pytest.raises(DataRefusedError, match="out of the source directory"):
        find_source(source, contract)


@pytest.mark.parametrize("name", ["../secret.csv", "sub/../../secret.csv", "/etc/passwd"])
def test_no_contract_leads_out(tmp_path: Path, contract: Contract, name: str) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (tmp_path / "secret.csv").write_bytes(b"a\n1\n")
    with pytest.raises(DataRefusedError, match="out of the source directory"):
        find_source(source, dataclasses.replace(contract, source_file=name))


def test_directories_and_dangling_links_are_no_source(tmp_path: Path, contract: Contract) -> None:
    (tmp_path / "patients.csv").mkdir()
    (tmp_path / "patients.csv.gz").symlink_to("nowhere")
    for directory in (tmp_path, tmp_path / "missing", tmp_path / "patients.csv" / "deeper"):
        with pytest.raises(DataRefusedError, match="There is no source file"):
            find_source(directory, contract)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataRefusedError):
        find_source(tmp_path / "loop", contract)
