"""The second look: how many texts of one column carry which evidence for which info type.

Only columns with candidates or a telling name, and the values inside nested cells, come here. Every text
is counted, by queries that run streaming and return one row of counts, so memory does not grow with the
column. A sample decides nothing but the order of work: types that it shows are counted at once, all others
together by one union, and one by one where that union matches.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from secure_platform.scan.patterns import (
    KEY,
    LEFT_BEHIND,
    NOISE,
    OPAQUE,
    TypePatterns,
    candidates,
    matches,
    union,
)
from secure_platform.taxonomy.validators import Validator

SAMPLE: Final = 1000
# Candidates that a rule is asked about which is no expression; it may cost 50 microseconds each.
ASKED: Final = 1000
# Candidates that any rule is asked about; of more, some spread over the column stand for the rest.
CHECKED: Final = 20_000
# Grouping pays where values repeat; above this many distinct values its table would outgrow a batch.
FEW_DISTINCT: Final = 100_000
REPEATS: Final = 4

_VALUE: Final = pl.col("value")
_WEIGHT: Final = pl.col("weight")
# No info type is named like this: ids are upper case.
_REST: Final = "rest"


@dataclass(frozen=True)
class Look:
    """What is to be counted in one column, or in the values of some keys inside it.

    Attributes:
        texts: A frame with the column `value`.
        patterns: The types to count.
        named: Ids of the info types that the column's name, or the keys, mean.
        vetoed: Ids of the info types that they rule out.
        keyed: Those of `named` that surrogate keys are not.
        filled: Non-null cells.
        candidates: Cells that the prefilter matches.
        distinct: Estimated distinct values.
    """

    column: str
    texts: pl.LazyFrame
    patterns: tuple[TypePatterns, ...]
    named: frozenset[str]
    vetoed: frozenset[str]
    keyed: frozenset[str]
    filled: int
    candidates: int
    distinct: int


@dataclass(frozen=True)
class Tally:
    """Cells of one column that carry evidence for one info type.

    Attributes:
        cell: The whole cell has the format.
        format: The whole cell or something inside has it.
        context: A keyword and a value stand together.
        sure: What needs no header: the format (what the validator accepts, if any), or keyword and value.
        named: Cells that count under a header that means the type.
        asked: Cells that the validator was asked about; 0 where there is none.
        valid: Those of them that it accepts.
    """

    cell: int = 0
    format: int = 0
    context: int = 0
    sure: int = 0
    named: int = 0
    asked: int = 0
    valid: int = 0


Tallies = Mapping[tuple[int, str], Tally]


def tallies(looks: Sequence[Look]) -> Tallies:
    """Count the evidence; keys are (place of the look, info type id), absent where there is none."""
    parts = [_part(place, *each) for place, each in enumerate(zip(looks, _samples(looks), strict=True))]
    parts = [part for part in parts if part.apart or part.together]
    rows = _collect(_count(part) for part in parts)
    others = [_rest(part) for part, row in zip(parts, rows, strict=True) if row[_REST]]
    rows += _collect(_count(part) for part in others)
    found = {
        (part.place, each.kind.id): Tally(**row[each.kind.id])
        for part, row in zip([*parts, *others], rows, strict=True)
        for each in part.apart
    }
    return found | _checked(looks, found)


@dataclass(frozen=True)
class _Part:
    """One query for one look: types counted apart, and types only asked for together."""

    place: int
    look: Look
    apart: tuple[TypePatterns, ...]
    together: tuple[TypePatterns, ...]
    filtered: bool


@dataclass(frozen=True)
class _Sample:
    """The ids of the types that the first candidates show, and whether there are no more candidates."""

    shown: frozenset[str] = frozenset()
    whole: bool = True


def _part(place: int, look: Look, sample: _Sample) -> _Part:
    first = sample.shown | look.named
    apart = tuple(each for each in look.patterns if each.kind.id in first)
    others = () if sample.whole else look.patterns
    together = tuple(each for each in others if each.kind.id not in first)
    return _Part(place, look, apart, together, filtered=not look.named and look.candidates * 2 < look.filled)


def _rest(part: _Part) -> _Part:
    return _Part(part.place, part.look, part.together, (), filtered=True)


def _samples(looks: Sequence[Look]) -> list[_Sample]:
    """What the first candidates of each look show."""
    rows = iter(_collect(_sample(look) for look in looks if look.candidates))
    return [_shown(next(rows)) if look.candidates else _Sample() for look in looks]


def _shown(row: Mapping[str, Any]) -> _Sample:
    shown = frozenset(kind for kind, hit in row.items() if hit and kind != _REST)
    return _Sample(shown, whole=row[_REST] < SAMPLE)


def _sample(look: Look) -> pl.LazyFrame:
    dense = look.candidates * 2 >= look.filled
    texts = look.texts.head(SAMPLE * 4) if dense else look.texts
    found = texts.filter(candidates(_VALUE, union(look.patterns))).head(SAMPLE)
    each = (matches(_VALUE, union([each])).any().alias(each.kind.id) for each in look.patterns)
    return found.select(*each, pl.lit(SAMPLE).alias(_REST) if dense else pl.len().alias(_REST))


def _count(part: _Part) -> pl.LazyFrame:
    values = _weighted(part.look)
    if part.filtered:
        values = values.filter(candidates(_VALUE, union((*part.apart, *part.together))))
    explained = pl.any_horizontal(pl.lit(False), *(_hit(each, "cell") for each in part.apart if each.closed))
    rest = matches(pl.when(~explained).then(_VALUE), union(part.together)).alias(_REST)
    tallied = [_tally(part.look, each).alias(each.kind.id) for each in part.apart]
    hits = _with_hits(values, part.look, part.apart)
    return hits.with_columns(rest).select(*tallied, _cells(pl.col(_REST)).alias(_REST))


def _with_hits(values: pl.LazyFrame, look: Look, kinds: Sequence[TypePatterns]) -> pl.LazyFrame:
    """One more column per type and kind of evidence, named `<id>.<evidence>`.

    Hits are columns, because an expression that is used twice is computed twice. A cell that has the format
    as a whole is searched no further.
    """
    cells = [_cell(look, each).alias(f"{each.kind.id}.cell") for each in kinds]
    return values.with_columns(cells).with_columns(hit for each in kinds for hit in _hits(look, each))


def _cell(look: Look, each: TypePatterns) -> pl.Expr:
    hit = matches(_VALUE, None if each.kind.id in look.vetoed else each.cell)
    return hit & ~matches(_VALUE, each.allowed) if each.allowed else hit


def _hits(look: Look, each: TypePatterns) -> list[pl.Expr]:
    kind, cell = each.kind, _hit(each, "cell")
    value = pl.when(~cell).then(_VALUE)
    named = pl.lit(False)
    if each.by_header_only and kind.id in look.named:
        named = ~matches(_VALUE, OPAQUE)
    elif kind.id in look.named:
        named = cell | matches(value, each.named_cell) & ~matches(value, LEFT_BEHIND)
    if kind.id in look.keyed:
        named = named & ~matches(_VALUE, KEY)
    hits = {
        "text": matches(_searched(each, value), each.text),
        "context": matches(value, each.context),
        "named": named,
    }
    if each.allowed:
        hits = {name: hit & ~_allowed(each, name) for name, hit in hits.items()}
    return [hit.alias(f"{kind.id}.{name}") for name, hit in hits.items()]


def _allowed(each: TypePatterns, evidence: str) -> pl.Expr:
    """Whether the cell is an allowed value, or all that it has inside are."""
    allowed = matches(_VALUE, each.allowed)
    if evidence != "text" or not each.text:
        return allowed
    inside = _searched(each, _VALUE).str.extract_all(each.text)
    return allowed | inside.list.eval(pl.element().str.contains(each.allowed or "")).list.all()


def _tally(look: Look, each: TypePatterns) -> pl.Expr:
    cell, text, context, named = (_hit(each, name) for name in ("cell", "text", "context", "named"))
    if each.kind.id in look.named:
        named = named | text | context
    measures = {
        "cell": cell,
        "format": cell | text,
        "context": context,
        "sure": cell | text | context,
        "named": named,
    }
    return pl.struct(_cells(hit).alias(name) for name, hit in measures.items())


def _checked(looks: Sequence[Look], found: Tallies) -> dict[tuple[int, str], Tally]:
    """Apply validators, only to columns and types in which something has the format."""
    keys, queries = [], []
    for place, look in enumerate(looks):
        for each in look.patterns:
            key = (place, each.kind.id)
            tally = found.get(key, Tally())
            if each.validator and (tally.format or tally.named):
                keys.append(key)
                step = max(1, max(tally.format, tally.named) // CHECKED)
                queries.append(_check(look, each, each.validator, step))
    rows = zip(keys, _collect(queries), strict=True)
    return {key: _with_rule(found[key], **row) for key, row in rows}


def _check(look: Look, each: TypePatterns, validator: Validator, step: int) -> pl.LazyFrame:
    """What the rule says of every so many cells."""
    cell, text, context, named = (_hit(each, name) for name in ("cell", "text", "context", "named"))
    valid = (cell | named) & validator.check(_VALUE).fill_null(False)
    if each.text:
        inside = (
            _searched(each, _VALUE)
            .str.extract_all(each.text)
            .list.eval(validator.check(pl.element()))
            .list.any()
        )
        valid = valid | inside.fill_null(False)
    texts = _weighted(look).gather_every(step) if step > 1 else _weighted(look)
    if not look.named:
        texts = texts.filter(candidates(_VALUE, union([each])))
    found = _with_hits(texts, look, [each]).filter(cell | text | context | named)
    asked = found.head(ASKED) if validator.sampled else found
    return asked.with_columns(valid.alias("valid")).select(
        _cells(pl.col("valid")).alias("valid"),
        _cells(pl.col("valid") | context).alias("sure"),
        _cells(cell | text | named).alias("asked"),
        (pl.lit(step == 1) & (pl.len() < ASKED if validator.sampled else pl.lit(True))).alias("all"),
    )


def _with_rule(tally: Tally, *, valid: int, sure: int, asked: int, all: bool) -> Tally:  # noqa: A002 - a column
    """The tally with what the validator said; of a sample, the share is taken for all cells."""
    if not all:
        sure = max(tally.context, tally.format * valid // max(asked, 1))
    return replace(tally, valid=valid, sure=sure, asked=asked)


def _hit(each: TypePatterns, evidence: str) -> pl.Expr:
    return pl.col(f"{each.kind.id}.{evidence}")


def _searched(each: TypePatterns, value: pl.Expr) -> pl.Expr:
    """The text that is searched: without noise where digits are all that a match is made of."""
    return value.str.replace_all(NOISE, " ") if each.kind.numeric and each.text else value


def _weighted(look: Look) -> pl.LazyFrame:
    """The texts, each with the number of cells it stands for."""
    if look.distinct <= FEW_DISTINCT and look.distinct * REPEATS <= look.filled:
        return look.texts.group_by("value").agg(pl.len().cast(pl.UInt64).alias("weight"))
    return look.texts.with_columns(pl.lit(1, dtype=pl.UInt64).alias("weight"))


def _cells(hit: pl.Expr) -> pl.Expr:
    return (hit.cast(pl.UInt64) * _WEIGHT).sum()


def _collect(queries: Iterable[pl.LazyFrame]) -> list[dict[str, Any]]:
    lazy = list(queries)
    return [row.row(0, named=True) for row in pl.collect_all(lazy, engine="streaming")] if lazy else []
