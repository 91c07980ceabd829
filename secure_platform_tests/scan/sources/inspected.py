"""Looks into files as the command does, and makes files of formats that Python cannot write."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from secure_platform.scan.columns import Scanner
from secure_platform.scan.report import Section, Skipped
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.scanner import SecretScanner
from secure_platform.scan.sources.documents import FileDocument
from secure_platform.scan.sources.folders import files
from secure_platform.scan.sources.inspection import Inspection
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.taxonomy.info_types import info_types

KEY: Final = bytes(32)
EMAILS: Final = ("anna.meyer@example.org", "bob.stone@example.org", "eve.long@example.org")
_TYPES: Final = info_types()
INSPECTION: Final = Inspection(
    Scanner(_TYPES),
    SecretScanner(own_rules(), KEY),
    TextScanner({name: kind for name, kind in _TYPES.items() if kind.group != "secret"}),
    KEY,
)


def inspect(root: Path) -> Section:
    """What a scan says of a file or folder."""
    whole = Section()
    for file in files(root):
        whole.add(Section(skipped=[file]) if isinstance(file, Skipped) else INSPECTION.document(file))
    return whole


def inspect_bytes(directory: Path, name: str, content: bytes) -> Section:
    """What a scan says of a file with this content."""
    path = directory / name
    path.write_bytes(content)
    return INSPECTION.document(FileDocument(path, name))


def found(section: Section) -> set[tuple[str, str | None, str]]:
    """Where what was found."""
    return {(each.source, each.column, each.info_type) for each in section.findings}


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def workbook(sheets: Mapping[str, Sequence[Sequence[str]]], *, note: str = "", formula: str = "") -> bytes:
    """An XLSX of inline texts.

    Args:
        sheets: Rows by the sheet's name; the last is hidden.
        note: The author in the properties.
        formula: Of the first cell of each sheet, whose saved value is its text.
    """
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    packages = "http://schemas.openxmlformats.org/package/2006"
    places = range(1, len(sheets) + 1)
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        for n in places
    )
    office = "application/vnd.openxmlformats"
    listed = "".join(
        f'<sheet name="{escape(name, {chr(34): "&quot;"})}" sheetId="{n}" r:id="r{n}"'
        f"{' state=' + chr(34) + 'hidden' + chr(34) if n == len(sheets) > 1 else ''}/>"
        for n, name in zip(places, sheets, strict=True)
    )
    related = "".join(
        f'<Relationship Id="r{n}" Type="{relations}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in places
    )
    return zipped(
        {
            "[Content_Types].xml": (
                f'<Types xmlns="{packages}/content-types">'
                f'<Default Extension="rels" ContentType="{office}-package.relationships+xml"/>'
                f'<Override PartName="/xl/workbook.xml" ContentType="{office}-officedocument'
                f'.spreadsheetml.sheet.main+xml"/>{overrides}</Types>'
            ).encode(),
            "_rels/.rels": (
                f'<Relationships xmlns="{packages}/relationships"><Relationship Id="r1" '
                f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
            ).encode(),
            "xl/workbook.xml": (
                f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>{listed}</sheets></workbook>'
            ).encode(),
            "xl/_rels/workbook.xml.rels": (
                f'<Relationships xmlns="{packages}/relationships">{related}</Relationships>'
            ).encode(),
            **{
                f"xl/worksheets/sheet{n}.xml": _sheet(main, rows, formula).encode()
                for n, rows in zip(places, sheets.values(), strict=True)
            },
            "docProps/core.xml": f"<properties><creator>{escape(note)}</creator></properties>".encode(),
        }
    )


def _sheet(main: str, rows: Sequence[Sequence[str]], formula: str) -> str:
    first = f"<f>{escape(formula)}</f>" if formula else ""
    body = "".join(
        f'<row r="{r}">'
        + "".join(
            f'<c r="{chr(64 + c)}{r}" t="str">{first if (r, c) == (1, 1) else ""}<v>{escape(cell)}</v></c>'
            for c, cell in enumerate(row, start=1)
        )
        + "</row>"
        for r, row in enumerate(rows, start=1)
    )
    return f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>'
