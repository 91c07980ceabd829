"""Hostile files end nothing, name nobody and swell nothing; what was not read is told."""

import io
import json
import struct
import zipfile
from pathlib import Path

import pytest
from inspected import EMAILS, KEY, found, inspect, inspect_bytes, workbook, zipped

from secure_platform.scan.report import Section
from secure_platform.scan.secrets.archives import Budget
from secure_platform.scan.secrets.findings import fingerprint
from secure_platform.scan.sources import inspection as inspection_module
from secure_platform.scan.sources.documents import FileDocument, SkippedError

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


def reasons(section: Section) -> dict[str, str]:
    return {each.source: each.reason for each in section.skipped}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"PAR1" + b"\x00" * 100 + b"PAR1"),
        ("a.parquet", b"PAR1" + bytes(40) + struct.pack("<I", 1 << 30) + b"PAR1"),
        ("encrypted.xlsx", OLE),
        ("a.xlsx", zipped({"xl/workbook.xml": b"<workbook"})),
        ("half.xlsx", workbook({"S": [["email"], [EMAILS[0]]]})[:-40]),
    ],
    ids=["no footer", "large footer", "encrypted", "no workbook", "half"],
)
def test_what_is_damaged_or_encrypted_is_told_and_ends_nothing(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / "z.txt").write_text(f"to {EMAILS[0]}\n", encoding="utf-8")
    (tmp_path / name).write_bytes(content)
    section = inspect(tmp_path)
    assert ("z.txt", None, "EMAIL") in found(section)
    assert name in reasons(section)
    assert EMAILS[0] not in str(reasons(section))


def test_a_sheet_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    cell = '<row r="{r}"><c r="{c}{r}" t="str"><v>x</v></c></row>'
    body = cell.format(r=1, c="A") + cell.format(r=1_048_576, c="XFD")
    bomb = io.BytesIO(workbook({"S": [["a"]]}))
    out = io.BytesIO()
    with zipfile.ZipFile(bomb) as given, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for member in given.namelist():
            content = given.read(member)
            if member.startswith("xl/worksheets"):
                content = content.replace(
                    content[content.find(b"<row") : content.find(b"</sheetData>")], body.encode()
                )
            made.writestr(member, content)
    section = inspect_bytes(tmp_path, "bomb.xlsx", out.getvalue())
    assert "bomb.xlsx" in reasons(section)


def test_archives_in_workbooks_in_archives_end_somewhere(tmp_path: Path) -> None:
    data = zipped({"a.txt": EMAILS[0].encode()})
    for n in range(12):
        data = zipped({f"{n}.xlsx": data})
    assert "archives too deep in each other" in reasons(inspect_bytes(tmp_path, "a.zip", data)).values()


def test_a_zip_bomb_of_tables_is_not_unpacked_beyond_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection_module, "Budget", lambda: Budget(bytes=1 << 20))
    large = b"id,email\n" + b"1,x\n" * (32 << 10)
    section = inspect_bytes(tmp_path, "bomb.zip", zipped({f"{n}.csv": large for n in range(10)}))
    assert reasons(section)["bomb.zip"] == "the archive holds more than is read"
    assert len(section.scanned) == 7


def test_links_are_told_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.csv").write_text(f"email\n{EMAILS[0]}\n", encoding="utf-8")
    (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "secret.csv")
    (tmp_path / "data" / "folder").symlink_to(tmp_path)
    section = inspect(tmp_path / "data")
    assert reasons(section) == {"link.csv": "a link", "folder": "a link"}
    assert section.findings == []
    with pytest.raises(SkippedError, match="a link"):
        FileDocument(tmp_path / "data" / "link.csv", "link.csv")


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("email\n", encoding="utf-8")
    document = FileDocument(path, "a.csv")
    path.write_text(f"email\n{EMAILS[0]}\n", encoding="utf-8")
    with pytest.raises(SkippedError, match="changed"), document.open():
        pass


NAMES = {
    "a.csv": f"{EMAILS[0]},4111 1111 1111 1111,plain\n1,2,3\n".encode(),
    "a.ndjson": json.dumps({EMAILS[0]: 1, "4111 1111 1111 1111": 2, "plain": 3}).encode(),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_a_value_is_found_and_not_shown(tmp_path: Path, name: str) -> None:
    section = inspect_bytes(tmp_path, name, NAMES[name])
    assert section.scanned[0].columns == ("column 1", "column 2", "plain")
    assert {(name, "column 1", "EMAIL"), (name, "column 2", "CREDIT_CARD")} <= found(section)
    assert all(part not in str(section) for part in (EMAILS[0], "4111"))


def test_a_sheet_that_is_called_by_a_value_is_told_by_its_place(tmp_path: Path) -> None:
    section = inspect_bytes(tmp_path, "b.xlsx", workbook({EMAILS[0]: [["a"], ["1"]]}))
    assert ("b.xlsx!/sheet 1", None, "EMAIL") in found(section)
    assert EMAILS[0] not in str(section)


def test_an_unkeyed_digest_of_a_value_is_nowhere(tmp_path: Path) -> None:
    section = inspect_bytes(tmp_path, "a.txt", f"mail {EMAILS[0]}\n".encode())
    (finding,) = section.findings
    assert finding.fingerprint == fingerprint(KEY, b"text", b"a.txt", b"EMAIL")
    assert not hasattr(finding, "value")
