"""The output is compared with the input: no original value of a protected column may be left.

Whole cells are compared by keyed hashes, so that the comparison stores no value. Longer cells are searched
for originals word by word. Only counts leave this module.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from secure_platform.protect.fake import FAKE, KIND, TRUE_BY_CHANCE
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text, hmac_hex
from secure_platform.protect.members import MEMBERS, texts_at
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.transforms import KEEP, TRANSFORMS

RESIDUAL_CHARACTERS: Final = 6
"""Shorter values are common words, codes and numbers, and occur by chance."""
RESIDUAL_DIGITS: Final = 12
"""Shorter digit strings collide with codes: among 10^6 nine-digit ids some equal a SNOMED or RxNorm code."""
INSIDE_CHARACTERS: Final = 8
"""Inside a cell, shorter originals occur by chance."""
PATTERNS_AT_ONCE: Final = 100_000
"""Bounds the memory of one search to about 250 MB."""
WORDS: Final = frozenset({"PERSON_NAME", "CITY", "COUNTY", "PLACE_NAME"})
"""Info types of ordinary words: New York the city has nothing to do with a column of states."""
DATES: Final = frozenset({"DATE", "DATE_OF_BIRTH", "DATE_OF_DEATH"})
"""In a large population every day is somebody's birthday; a date inside a text is the scanner's to find."""
SPARSE: Final = 10**15
"""Of fewer numbers that keep their format, some become by chance what another one was."""
Originals = Sequence[tuple[pl.LazyFrame, DatasetPlan]]
FPE: Final = "fpe"
REPLACE: Final = "replace"
ROUNDED: Final = frozenset({"generalize.quarter", "generalize.month", "generalize.week", "generalize.hour"})
"""Generalizations that change nothing a second time, and of which dates and times come out again."""
LIKE_BEFORE: Final = ROUNDED | {
    KEEP,
    "scrub",
    "shift_date",
    "noise",
    "shuffle",
    "generalize.day",
    "generalize.bucket",
    "generalize.limits",
    "generalize.hierarchy",
}
"""Transforms of which a value of the same kind comes out: a date stays a date, a place a place."""
ALSO: Final[Mapping[str, frozenset[str]]] = {"AGE": frozenset({"AGE_OVER_89"})}
"""Info types that some values of another are: among ages that are let out some are above 89."""
ANY: Final = "*"
_CELL, _COLUMN, _HASH, _COUNT, _WORD = "__cell", "__column", "__hash", "__count", "__word"
_FOUND: Final = pl.Schema({_COLUMN: pl.String, _HASH: pl.String, _COUNT: pl.get_index_type()})
_COMMON, _OWN, _TRANSFORMED = "__common", "__own", "__transformed"
_SEED_BYTES: Final = 8
_SEPARATORS: Final = r"[^\p{L}\p{N}]+"
_NOT_ASCII: Final = r"[^\x00-\x7F]"


def residual_values(
    originals: Originals, protected: pl.LazyFrame, plan: DatasetPlan | None, key: bytes
) -> list[tuple[str, int]]:
    """Cells of the output that equal or contain an original value of a column that is not kept.

    In columns that the plan transforms, a cell that equals any original of the same dataset counts, from 6
    characters. In columns that it keeps, in those it does not know (of a mart), and for originals of other
    datasets, ordinary words and digit strings of less than 12 do not: they are there for other reasons.

    Kept and unknown columns are also searched for originals as parts of longer cells: those of at least 8
    characters that contain a digit, such as addresses, ids and telephone numbers. Upper and lower case,
    punctuation and the width of spaces make no difference, and a match ends at the borders of words.

    Not found inside a cell: names and addresses without a digit, because Parkinson the patient must not block
    Parkinson the disease, nor `No fixed abode` the finding; parts of an original; another spelling of it.

    Numbers that keep their format and have fewer than 10^15 values are looked for nowhere: each is the image
    of another. Dates and times that the plan rounds are no text; of these, what is not rounded counts.

    Args:
        originals: What `apply` was given for each dataset, or better its source text, before dates and
            numbers were parsed; and the dataset's plan.
        protected: What was written, or a mart made of it.
        plan: Of the dataset that `protected` is; None for a mart.
        key: 32 bytes; the comparison is over HMAC-SHA-256 under it.

    Returns:
        (output column, number of cells), columns without any left out; never a value.

    Raises:
        PlanRefusedError: If the key is not 32 bytes long.
    """
    texts = [name for name, dtype in protected.collect_schema().items() if dtype == pl.String]
    befores = [
        _originals(frame, own, mine=plan is not None and own.dataset == plan.dataset)
        for frame, own in originals
        if _sources(own)
    ]
    exact = _not_rounded(protected, plan) if plan else []
    if not befores or not texts:
        return exact
    hidden = (
        [each.column for each in _sources(plan) if each.path is None and not _is_dense(each.plan)]
        if plan
        else []
    )
    after = _cells(protected, texts).with_columns(pl.col(_COLUMN).is_in(hidden).alias(_TRANSFORMED))
    whole = _equal_cells(pl.concat(befores), after, key)
    kept = [name for name in texts if name not in hidden]
    parts = _containing_cells(originals, _cells(protected, kept), key)
    # A cell that equals one original and contains another is one cell.
    found = pl.concat([whole, parts]).unique([_COLUMN, _HASH])
    left: list[tuple[str, int]] = found.group_by(_COLUMN).agg(pl.col(_COUNT).sum()).rows()
    return sorted([*left, *exact])


def _not_rounded(protected: pl.LazyFrame, plan: DatasetPlan) -> list[tuple[str, int]]:
    """Cells of columns that the plan rounds which are not: a scan cannot tell the day from the month."""
    schema = protected.collect_schema()
    changed = [
        (pl.col(each.column) != _again(each, schema[each.column])).sum().alias(each.column)
        for each in plan.outputs
        if each.full_name in ROUNDED
    ]
    if not changed:
        return []
    counts = protected.select(changed).collect(engine="streaming").row(0, named=True)
    return [(name, count) for name, count in counts.items() if count]


def _again(column: ColumnPlan, dtype: pl.DataType) -> pl.Expr:
    return TRANSFORMS[column.full_name].build(pl.col(column.column), Inputs(dtype))


@dataclass(frozen=True)
class _Source:
    """A column whose values may not be left, or the values at a path in a column of JSON."""

    column: str
    path: str | None
    plan: ColumnPlan

    @property
    def name(self) -> str:
        return f"{self.column}{self.path or ''}"


def _sources(plan: DatasetPlan) -> list[_Source]:
    whole = [_Source(column.column, None, column) for column in plan.columns]
    inside = [
        _Source(column.column, path, part)
        for column in plan.columns
        if column.transform == MEMBERS
        for path, part in column.parts.items()
    ]
    return [source for source in [*whole, *inside] if not source.plan.shows_values]


def _is_free_text(column: ColumnPlan) -> bool:
    return column.info_type is None and column.token_domain is None


def kept_formats(plan: DatasetPlan) -> dict[str, frozenset[str]]:
    """Columns in which findings are expected, and of which types; `ANY` if it looks like the original.

    A column that the profile or a waiver leaves as it is, or as a value of the same kind, contains what the
    contract says. A text that stands for every value of a column is in the plan, and may look like anything.
    """
    found = {}
    for column in plan.outputs:
        done = {each.full_name for each in column.every()}
        if done & {FPE, FAKE} or (REPLACE in done and not column.shows_values):
            found[column.column] = frozenset({ANY})
        elif column.info_type is not None and done & LIKE_BEFORE:
            found[column.column] = frozenset({column.info_type}) | ALSO.get(column.info_type, frozenset())
    return found


def _is_dense(column: ColumnPlan) -> bool:
    """Whether one value may, by chance, be the encryption of another."""
    return any(
        each.params[KIND] in TRUE_BY_CHANCE
        if each.full_name == FAKE
        else len(str(each.params["symbols"])) ** int(each.params["shortest"]) < SPARSE
        for each in column.every()
        if each.full_name in {FPE, FAKE}
    )


def _originals(frame: pl.LazyFrame, plan: DatasetPlan, *, mine: bool) -> pl.LazyFrame:
    """The originals of one dataset, and whether each is too common to mean anything elsewhere."""
    sources = _sources(plan)
    words = [
        each.name
        for each in sources
        if each.plan.info_type in WORDS or _is_free_text(each.plan) or _is_dense(each.plan)
    ]
    common = pl.col(_COLUMN).is_in(words) | _is_short_number(pl.col(_CELL))
    cells = _original_cells(frame, sources)
    return cells.select(_CELL, common.alias(_COMMON), pl.lit(mine).alias(_OWN))


def _is_short_number(cell: pl.Expr) -> pl.Expr:
    return cell.str.contains(f"^[0-9]{{1,{RESIDUAL_DIGITS - 1}}}$")


def _original_cells(frame: pl.LazyFrame, sources: Sequence[_Source]) -> pl.LazyFrame:
    """The long enough values of columns and of paths in columns of JSON."""
    whole = _cells(frame, [source.column for source in sources if source.path is None])
    inside = [
        frame.select(
            pl.lit(source.name).alias(_COLUMN),
            texts_at(pl.col(source.column), source.path).explode().alias(_CELL),
        )
        for source in sources
        if source.path is not None
    ]
    return pl.concat([whole, *(_long(cells) for cells in inside)])


def _long(cells: pl.LazyFrame) -> pl.LazyFrame:
    return cells.filter(pl.col(_CELL).str.len_chars() >= RESIDUAL_CHARACTERS)


def _cells(frame: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """The long enough cells of some columns, in one pass: columns `__column` and `__cell`."""
    if not names:
        return pl.LazyFrame(schema={_COLUMN: pl.String, _CELL: pl.String})
    schema = frame.collect_schema()
    texts = frame.select(canonical_text(pl.col(name), schema[name]) for name in names)
    return _long(texts.unpivot(variable_name=_COLUMN, value_name=_CELL))


def _equal_cells(before: pl.LazyFrame, after: pl.LazyFrame, key: bytes) -> pl.DataFrame:
    """Output cells that are an original: column, keyed hash and number."""
    # A seeded 64-bit hash finds candidates at a quarter of the cost of HMAC, which decides on these alone.
    seed = int.from_bytes(hmac.digest(key, b"residual seed", "sha256")[:_SEED_BYTES], "big")
    quick, exact = pl.col(_CELL).hash(seed=seed).alias(_HASH), hmac_hex(pl.col(_CELL), key).alias(_HASH)
    found = _matches(before, after, quick).select(_HASH).unique().collect(engine="streaming")
    if found.is_empty():
        return pl.DataFrame(schema=_FOUND)
    likely_before, likely_after = (
        cells.with_columns(quick).join(found.lazy(), on=_HASH, how="semi") for cells in (before, after)
    )
    matches = _matches(likely_before, likely_after, exact)
    return matches.group_by(_COLUMN, _HASH).agg(pl.len().alias(_COUNT)).collect(engine="streaming")


def _matches(before: pl.LazyFrame, after: pl.LazyFrame, hashed: pl.Expr) -> pl.LazyFrame:
    """Output cells that may not be there: an original's hash, and not explained by the value being common."""
    known = before.select(hashed, _COMMON, _OWN).group_by(_HASH)
    facts = known.agg(pl.col(_COMMON).all(), pl.col(_OWN).any())
    cells = after.select(_COLUMN, _TRANSFORMED, hashed).join(facts, on=_HASH)
    return cells.filter((pl.col(_TRANSFORMED) & pl.col(_OWN)) | ~pl.col(_COMMON))


def _containing_cells(originals: Originals, kept: pl.LazyFrame, key: bytes) -> pl.DataFrame:
    """Cells that an original is part of: column, keyed hash and number."""
    long = kept.filter((pl.col(_CELL).str.len_chars() >= INSIDE_CHARACTERS) & _has_digit(pl.col(_CELL)))
    distinct = long.group_by(_COLUMN, _CELL).agg(pl.len().alias(_COUNT)).collect(engine="streaming")
    if distinct.is_empty():
        return pl.DataFrame(schema=_FOUND)
    texts = distinct.select(_as_words(pl.col(_CELL))).to_series()
    words = texts.str.split(" ").explode().unique().alias(_WORD).to_frame().lazy()
    patterns = pl.concat(_patterns(frame, plan) for frame, plan in originals)
    # An original can only be where its first and its last word are: this leaves few of many ids.
    for end in ("^ ([^ ]+)", "([^ ]+) $"):
        patterns = patterns.join(words, left_on=pl.col(_CELL).str.extract(end), right_on=_WORD, how="semi")
    likely = patterns.unique().collect(engine="streaming")[_CELL]
    contains = pl.repeat(value=False, n=texts.len(), eager=True)
    for start in range(0, likely.len(), PATTERNS_AT_ONCE):
        contains |= texts.str.contains_any(likely.slice(start, PATTERNS_AT_ONCE).implode())
    return distinct.filter(contains).select(_COLUMN, hmac_hex(pl.col(_CELL), key).alias(_HASH), _COUNT)


def _patterns(frame: pl.LazyFrame, plan: DatasetPlan) -> pl.LazyFrame:
    """The originals that mean something inside a longer text, as words."""
    identifying = [
        each
        for each in _sources(plan)
        if each.plan.info_type not in DATES and not _is_free_text(each.plan) and not _is_dense(each.plan)
    ]
    cell = pl.col(_CELL)
    telling = (cell.str.len_chars() >= INSIDE_CHARACTERS) & _has_digit(cell) & ~_is_short_number(cell)
    words = _original_cells(frame, identifying).filter(telling).select(_as_words(cell))
    return words.filter(cell.str.len_chars() >= INSIDE_CHARACTERS + 2)


def _has_digit(cell: pl.Expr) -> pl.Expr:
    return cell.str.contains(r"\p{N}")


def _as_words(cell: pl.Expr) -> pl.Expr:
    """The words of a text in lower case, with one space before, between and after them."""
    # Normalizing is half of the work and changes nothing in ASCII.
    normal = pl.coalesce(pl.when(cell.str.contains(_NOT_ASCII)).then(cell).str.normalize("NFKC"), cell)
    words = normal.str.to_lowercase().str.replace_all(_SEPARATORS, " ")
    return pl.concat_str([pl.lit(" "), words.str.strip_chars(" "), pl.lit(" ")]).alias(_CELL)
