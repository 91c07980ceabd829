"""The report as one page for whoever answers for the data: what is where, how sure, and what was not read.

The page says what the JSON document says and nothing else. It needs no network and no script, and its policy
forbids both; every name from the data is escaped, and cannot steer what stands beside it.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from secure_platform.plain import visible
from secure_platform.scan.report import is_secret
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import InfoType, info_types

_FOLDER: Final = Path(__file__).parent
MOST_COLUMNS: Final = 40
"""Columns of a table without a finding are rows of its heat map as long as it is not longer than this."""
STEPS: Final = (0.5, 0.7, 0.85, 0.95)
"""Confidences at which a cell of a heat map becomes one step stronger."""
_ONE_PERCENT: Final = 0.01
_LINES: Final = 10
_SECRETS: Final = "secrets"


@dataclass(frozen=True)
class HeatMap:
    """Where in a table, or in a group of texts, which info types are.

    Attributes:
        title: The table's name; none for the texts.
        types: Info types that were found, the most sensitive first.
        rows: Name of a column or text, and for each type its findings.
        clean: Names without a finding that have no row.
        findings: In full.
    """

    title: str
    height: int | None
    types: Sequence[InfoType]
    rows: Sequence[tuple[str, Sequence[Sequence[Mapping[str, Any]]]]]
    clean: Sequence[str]
    findings: Sequence[Mapping[str, Any]]


def page(document: Mapping[str, Any], *, made: datetime) -> str:
    """The page of a report.

    Args:
        document: As `report.document` makes it.
        made: When it was made, aware.
    """
    style = (_FOLDER / "page.css").read_text("utf-8")
    found = document["findings"]
    tables = [each for each in document["scanned"] if each["kind"] == "table"]
    texts = [each["source"] for each in document["scanned"] if each["kind"] == "text"]
    maps = [_of_table(table, found) for table in tables]
    named = {table["source"] for table in tables}
    others = [each for each in found if each["column"] is None or each["source"] not in named]
    return _template().render(
        style=Markup(style),  # noqa: S704 - our own file
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        document=document,
        made=made,
        counts=_counts(found),
        sources=_by_source(document),
        maps=[each for each in maps if each.findings],
        clean_tables=[each.title for each in maps if not each.findings],
        texts=_of_texts(others) if others else None,
        clean_texts=len(set(texts) - {each["source"] for each in others}),
        types=_types(found),
        steps=STEPS,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "heat": _heat, "percent": _percent, "places": _places}
    environment.globals |= {"info_type": lambda name: info_types()[name]}
    return environment.get_template("page.html.jinja")


def _of_table(table: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> HeatMap:
    own = [each for each in found if each["source"] == table["source"] and each["column"] is not None]
    types, holding = _types(own), {each["column"] for each in own}
    every = len(table["columns"]) <= MOST_COLUMNS
    names = [name for name in table["columns"] if every or name in holding]
    clean = [name for name in table["columns"] if name not in names]
    return HeatMap(table["source"], table["rows"], types, _rows(names, types, own, "column"), clean, own)


def _of_texts(found: Sequence[Mapping[str, Any]]) -> HeatMap:
    types = _types(found)
    names = dict.fromkeys(each["source"] for each in found)
    return HeatMap("", None, types, _rows(names, types, found, "source"), (), found)


def _rows(
    names: Iterable[str], types: Sequence[InfoType], found: Sequence[Mapping[str, Any]], member: str
) -> list[tuple[str, list[list[Mapping[str, Any]]]]]:
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in found:
        cells.setdefault((each[member], each["info_type"]), []).append(each)
    return [(name, [cells.get((name, kind.id), []) for kind in types]) for name in names]


def _types(found: Iterable[Mapping[str, Any]]) -> list[InfoType]:
    known = info_types()
    ranks = {name: rank for rank, name in enumerate(known)}
    names = {each["info_type"] for each in found}
    return sorted((known[name] for name in names), key=lambda each: (-each.classification, ranks[each.id]))


def _counts(found: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = {level.label: 0 for level in reversed(Classification)} | {_SECRETS: 0}
    for each in found:
        kind = info_types()[each["info_type"]]
        counts[kind.classification.label] += 1
        counts[_SECRETS] += is_secret(kind.id)
    return counts


def _by_source(document: Mapping[str, Any]) -> list[tuple[str, Classification, int, list[InfoType]]]:
    """The sources with findings, those with the most sensitive first."""
    by_source: dict[str, list[Mapping[str, Any]]] = {}
    for each in document["findings"]:
        by_source.setdefault(each["source"], []).append(each)
    rows = [(name, _types(own)[0].classification, len(own), _types(own)) for name, own in by_source.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _heat(cell: Sequence[Mapping[str, Any]]) -> int:
    """How strong the colour of a cell is: 1-5 by the surest of its findings."""
    confidence: float = max(each["confidence"] for each in cell)
    return 1 + sum(int(confidence >= step) for step in STEPS)


def _percent(ratio: float) -> str:
    return f"{ratio:.0%}".replace("%", " %") if ratio == 0 or ratio >= _ONE_PERCENT else "< 1 %"


def _places(finding: Mapping[str, Any]) -> str:
    lines = list(dict.fromkeys(span["line"] for span in finding["spans"]))
    told = ", ".join(map(str, lines[:_LINES]))
    return told + (", …" if len(lines) > _LINES or finding["rows"] > len(finding["spans"]) else "")
