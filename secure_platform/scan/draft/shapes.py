"""The type of a column is decided by every cell in it, with the reader that will validate it.

The head of the column only says which types are worth trying: a single late cell that is not a number makes
the column text, and the draft says so. Digits that nobody calculates with stay text: those with leading
zeros, and those too long for a number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from secure_platform.contract.formats import FORMATS
from secure_platform.contract.model import Column, LogicalType, Protect
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.tables import Table
from secure_platform.scan.sources import json
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.reading import header_tokens
from secure_platform.validate.casts import typed

SAMPLE: Final = 500
LIKELY: Final = 0.5
NEARLY: Final = 0.95
FEW: Final = 20
COMPACT: Final = "yyyyMMdd"
FLOAT_DIGITS: Final = 17
_TYPES: Final[tuple[LogicalType, ...]] = ("boolean", "integer", "number", "date", "timestamp")
_DAY_WORDS: Final = frozenset({"date", "datum", "day", "dob", "birth", "birthday", "fecha", "dt"})
_SPELLED: Final = r"^[0-9]{1,4}[-/.].*[0-9]"
_LIKE: Final = {
    r"^-?[0-9]{1,3}(?:[. ]?[0-9]{3})*,[0-9]+$": "numbers with a decimal comma",
    r"^-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?$": "numbers with commas between thousands",
    r"^(?i:y|n|yes|no|t|f|true|false|on|off|ja|nein|oui|non|si|sí)$": "a yes or no in words",
    r"^-?0[0-9]+$": "digits with leading zeros",
}
Form = tuple[LogicalType, str | None]


def shaped(table: Table) -> TableDraft:
    """A draft of the table whose columns have a type and counts."""
    texts = _heads(table)
    forms = {name: _forms(name, texts[name]) for name in table.usable}
    counts = _counts(table, forms)
    columns = [
        _column(name, forms[name], counts[place], texts[name]) for place, name in enumerate(table.usable)
    ]
    if any(column.filled for column in columns):
        columns = [column if column.filled else _left_out(column) for column in columns]
    return TableDraft(
        dataset=table.dataset,
        source_file=table.source_file,
        frame=table.frame,
        rows=table.rows,
        malformed=table.malformed,
        columns=tuple(columns),
        left_out=table.left_out,
        doubts=tuple(_doubts(table)),
        written=table.written,
    )


def cast(column: ColumnDraft) -> pl.Expr:
    """The text column as its proposed type."""
    return typed(column.column())


def _heads(table: Table) -> dict[str, pl.Series]:
    """Some of the values of each column."""
    some = [pl.col(name).drop_nulls().head(SAMPLE).implode() for name in table.usable]
    row = table.frame.select(some).collect(engine="streaming")
    return {name: row[name].item() for name in table.usable}


def _forms(name: str, head: pl.Series) -> list[Form]:
    """What the column may be; the first that all cells are will be it."""
    forms: list[Form] = [(kind, None) for kind in _TYPES if _share(head, (kind, None)) >= LIKELY]
    compact: Form = ("date", COMPACT)
    if ("integer", None) in forms and _DAY_WORDS & {*header_tokens(name)} and _share(head, compact) >= LIKELY:
        return [compact, *forms]
    if not forms and head.str.contains(_SPELLED).mean():
        return [form for form in _spellings(head) if _share(head, form) >= LIKELY]
    return forms


def _spellings(head: pl.Series) -> Iterator[Form]:
    """Formats in which some of a few cells are spelled; the rest of the head need not be tried in all."""
    few = head.unique(maintain_order=True).head(FEW)
    kinds: tuple[LogicalType, ...] = ("date", "timestamp")
    for kind in kinds:
        for form in FORMATS[kind]:
            if form != COMPACT and _share(few, (kind, form)) >= LIKELY:
                yield kind, form


def _share(values: pl.Series, form: Form) -> float:
    if values.is_empty():
        return 0
    text = values.alias("x").to_frame()
    return float(text.select(_typed("x", form).is_not_null().mean()).item())


def _typed(name: str, form: Form) -> pl.Expr:
    return typed(Column(name, form[0], "", Classification.INTERNAL, format=form[1]))


def _counts(table: Table, forms: dict[str, list[Form]]) -> list[dict[str, int]]:
    """One look at every cell."""
    looks = []
    for place, name in enumerate(table.usable):
        text = pl.col(name)
        fitting = [
            _typed(name, form).is_not_null().sum().alias(str(number))
            for number, form in enumerate(forms[name])
        ]
        looks.append(
            pl.struct(
                text.count().alias("filled"),
                text.approx_n_unique().alias("distinct"),
                text.str.len_chars().min().alias("shortest"),
                text.str.contains("[.eE]").sum().alias("fractions"),
                _inexact(text, forms[name]).alias("inexact"),
                *fitting,
            ).alias(str(place))
        )
    return list(table.frame.select(looks).collect(engine="streaming").row(0))


def _inexact(text: pl.Expr, forms: Sequence[Form]) -> pl.Expr:
    """How many cells have more digits than any 64-bit float is written with."""
    if ("number", None) not in forms:
        return pl.lit(0)
    digits = text.str.replace_all("[eE].*|[^0-9]", "").str.strip_chars("0")
    return (digits.str.len_bytes() > FLOAT_DIGITS).sum()


def _column(name: str, forms: Sequence[Form], counts: dict[str, int], head: pl.Series) -> ColumnDraft:
    filled = counts["filled"]
    draft = ColumnDraft(
        name=name,
        filled=filled,
        distinct=min(counts["distinct"], filled),
        shortest=counts["shortest"],
    )
    if not filled:
        return draft.doubted("it has no value: its type is a guess")
    fitting = [form for place, form in enumerate(forms) if counts[str(place)] == filled]
    if not fitting:
        if _is_json(head):
            return replace(draft, protect=Protect("drop")).doubted(
                "it holds JSON, dropped until what is in it is described under `properties` or `items`"
            )
        return draft.doubted(*_nearly(forms, counts, filled), *_alike(head))
    kind, spelled = fitting[0]
    if kind == "number" and not counts["fractions"]:
        return draft.doubted("its numbers have more digits than an integer can hold; it stays text")
    if kind == "number" and counts["inexact"]:
        return draft.doubted("its numbers have more digits than a 64-bit float can hold; it stays text")
    doubts = [f"its cells could also be {other[1]}" for other in fitting[1:] if spelled and other[1]]
    if forms[0][1] and not spelled:
        doubts += _nearly(forms[:1], counts, filled)
    return ColumnDraft(
        name=name,
        logical_type=kind,
        format=spelled,
        filled=filled,
        distinct=draft.distinct,
        shortest=draft.shortest,
        doubts=tuple(doubts[:1]),
    )


def _left_out(column: ColumnDraft) -> ColumnDraft:
    """Nobody knows what will once stand there."""
    return replace(column, protect=Protect("drop")).doubted("dropped, until somebody says what it is")


def _nearly(forms: Sequence[Form], counts: dict[str, int], filled: int) -> Iterator[str]:
    for place, (kind, spelled) in enumerate(forms):
        fitting = counts[str(place)]
        if fitting >= NEARLY * filled:
            said = f"{kind}s" + (f" spelled {spelled}" if spelled else "")
            others = f"{filled - fitting:,} cell{' is' if filled - fitting == 1 else 's are'}"
            yield f"{others} no {said}, all others are"
            return


def _is_json(head: pl.Series) -> bool:
    """Whether cells are objects or lists: what is found in one of them says nothing of the next."""
    if float(head.str.contains(r"^\s*[{\[]").mean() or 0) < NEARLY:  # type: ignore[arg-type]
        return False
    return sum(isinstance(json.parsed(cell), dict | list) for cell in head) >= NEARLY * head.len()


def _alike(head: pl.Series) -> Iterator[str]:
    for pattern, words in _LIKE.items():
        if float(head.str.contains(pattern).mean() or 0) >= NEARLY:  # type: ignore[arg-type]
            yield f"it holds {words}; it stays text"
            return


def _doubts(table: Table) -> Iterator[str]:
    if table.rows < FEW:
        yield f"it has {table.rows} row{'' if table.rows == 1 else 's'}: types and keys rest on little"
    if table.malformed:
        yield f"{table.malformed:,} records cannot be read; up to 5 % are quarantined"
    if table.left_out:
        named = ", ".join(table.left_out[:FEW])
        yield f"these columns stay in raw, because a contract cannot name them: {named}"
    if not table.as_it_is:
        yield "the platform pulls CSV with commas, or Parquet: convert the file, or use --convert"
