"""Keys are columns that are always filled, never repeat and are named like keys, not merely unique by chance.

A foreign key is a column whose values are all in a key of another table, and whose name says so. Without such
a name, only long texts count, because small numbers are part of every sequence. Edges that would close a
circle are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Final

import polars as pl

from secure_platform.contract.model import LogicalType, Reference
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import info_types
from secure_platform.taxonomy.reading import header_tokens

RECORD_ID: Final = "RECORD_ID"
OWN: Final = frozenset({None, RECORD_ID})
"""What keys are that somebody gave: numbers of the world outside may have to be dropped."""
OFTEN_DISTINCT: Final = 0.8
ENOUGH: Final = 10
LONG: Final = 8
PARTS: Final = 6
_KEY_WORDS: Final = frozenset({"id", "ids", "key", "uuid", "guid", "pk", "sk"})
_NUMBER_WORDS: Final = frozenset({"no", "nr", "num", "number", "code", "ref", "reference", "identifier"})
NATIONAL: Final = "87"
"""The article of the GDPR about national identification numbers."""
_PERSON: Final = frozenset({"PERSON_NAME", "DATE_OF_BIRTH"})
_PEOPLE: Final = frozenset(
    {
        *(
            "user",
            "customer",
            "client",
            "patient",
            "person",
            "member",
            "employee",
            "subject",
            "student",
            "guest",
        ),
        *(
            "applicant",
            "donor",
            "subscriber",
            "buyer",
            "seller",
            "owner",
            "holder",
            "contact",
            "kunde",
            "cust",
        ),
    }
)
_HASH_SEED: Final = 0


def keyed(draft: TableDraft) -> TableDraft:
    """The draft with required columns, unique ones and a primary key."""
    if not draft.rows:
        return draft
    columns = [replace(column, required=column.filled == draft.rows) for column in draft.columns]
    draft = draft.with_columns(columns)
    whole = _distinct(draft, [column for column in columns if _may_be_key(column)])
    unique = [column for column in columns if column.name in whole]
    ranked = sorted(unique, key=lambda column: -_likeness(draft, column))
    own = [column for column in ranked if column.info_type in OWN and _likeness(draft, column)]
    draft = draft.with_columns([replace(c, unique=True) for c in unique if _stays_unique(draft, c)])
    if own:
        draft = draft.with_columns([replace(draft.column(own[0].name), primary_key=True, unique=False)])
    else:
        draft = _together(draft)
    return _about_people(draft)


def related(drafts: Sequence[TableDraft]) -> list[TableDraft]:
    """The drafts with foreign keys between them."""
    tables = {draft.dataset: draft for draft in drafts}
    parents: dict[str, set[str]] = {name: set() for name in tables}
    for edge in sorted(
        _edges(drafts), key=lambda edge: (-edge.likeness, edge.child, edge.column, edge.parent)
    ):
        child, parent = tables[edge.child], tables[edge.parent]
        column, key = child.column(edge.column), parent.column(edge.key)
        if (
            column.reference
            or edge.child in _above(edge.parent, parents)
            or not _holds(child, column, parent, key)
        ):
            continue
        parents[edge.child].add(edge.parent)
        tables[edge.child] = child.with_columns([_pointing(column, key, edge)])
    return [_with_people(_with_subject(tables[draft.dataset], tables)) for draft in drafts]


def is_named_like_a_key(column: ColumnDraft) -> bool:
    """Whether it names something: nobody calculates with its numbers, and the next may be larger."""
    return bool({*_words(column.name)[-1:]} & (_KEY_WORDS | _NUMBER_WORDS))


def _may_be_key(column: ColumnDraft) -> bool:
    often = column.distinct >= OFTEN_DISTINCT * column.filled
    return column.required and often and column.logical_type in {"string", "integer"}


def _distinct(draft: TableDraft, columns: Sequence[ColumnDraft]) -> set[str]:
    """Those of the columns in which no value comes twice."""
    counts = [pl.col(c.name).hash(_HASH_SEED).n_unique().alias(c.name) for c in columns]
    if not counts:
        return set()
    row = draft.frame.select(counts).collect(engine="streaming").row(0, named=True)
    return {name for name, count in row.items() if count == draft.rows}


def _likeness(draft: TableDraft, column: ColumnDraft) -> int:
    """How much a column is named like the key of its table; 0 for not at all."""
    words = _words(column.name)
    if not words:
        return 0
    stem = _stem(words)
    if words[-1] in _KEY_WORDS | _NUMBER_WORDS and (not stem or _means(stem, draft)):
        return 4
    if words[-1] in _KEY_WORDS:
        return 3
    first = column.name == draft.columns[0].name
    if words[-1] in _NUMBER_WORDS:
        return 2
    long = column.logical_type == "string" and (column.shortest or 0) >= LONG
    return 1 if first and (column.logical_type == "integer" or long) and draft.rows >= ENOUGH else 0


def _stays_unique(draft: TableDraft, column: ColumnDraft) -> bool:
    """Whether a promise for later files is made: for what is named or meant to identify."""
    national = column.info_type is not None and info_types()[column.info_type].gdpr == NATIONAL
    named = {*_words(column.name)[-1:]} & _KEY_WORDS and column.info_type in OWN
    return draft.rows >= ENOUGH and bool(national or named)


def _together(draft: TableDraft) -> TableDraft:
    """Two columns named like keys that identify a row together."""
    parts = [c for c in draft.columns if c.required and {*_words(c.name)} & (_KEY_WORDS | _NUMBER_WORDS)]
    for pair in combinations(parts[:PARTS], 2):
        both = pl.struct(column.name for column in pair).hash(_HASH_SEED).n_unique()
        if draft.rows > 1 and draft.frame.select(both).collect(engine="streaming").item() == draft.rows:
            return draft.with_columns(
                [replace(c, primary_key=True).doubted("is it part of the key?") for c in pair]
            )
    return replace(draft, doubts=(*draft.doubts, "no column was taken for its key"))


def _about_people(draft: TableDraft) -> TableDraft:
    """The key of a table of people names them."""
    types = info_types()
    telling = [c for c in draft.columns if c.info_type and types[c.info_type].sensitive]
    people = len(telling) > 1 or any(column.info_type in _PERSON for column in draft.columns)
    key = draft.primary_key
    if not people or len(key) != 1:
        return draft
    level = max(key[0].classification, types[RECORD_ID].classification)
    named = replace(key[0], info_type=RECORD_ID, classification=level, subject_id=True)
    return draft.with_columns([named])


@dataclass(frozen=True)
class _Edge:
    """A column that may point at a key; the higher its likeness, the more its name says so."""

    child: str
    column: str
    parent: str
    key: str
    likeness: int


def _edges(drafts: Sequence[TableDraft]) -> Iterator[_Edge]:
    keys = [
        (parent, key)
        for parent in drafts
        for key in parent.columns
        if (key.unique or parent.primary_key == (key,)) and key.info_type in OWN
    ]
    columns = [(child, column) for child in drafts for column in child.columns]
    for (parent, key), (child, column) in product(keys, columns):
        likeness = _affinity(child, column, parent, key)
        if likeness and child.dataset != parent.dataset:
            yield _Edge(child.dataset, column.name, parent.dataset, key.name, likeness)


def _affinity(child: TableDraft, column: ColumnDraft, parent: TableDraft, key: ColumnDraft) -> int:
    if not column.filled or {column.logical_type, key.logical_type} - {"string", "integer"}:
        return 0
    stem, key_stem = _stem(_words(column.name)), _stem(_words(key.name))
    if stem and _means(stem, parent):
        # Of two tables with one key each, the one it is named after is pointed at.
        return 0 if column.primary_key and _means(stem, child) else 3
    if stem and stem == key_stem and not column.primary_key:
        return 2
    long = min(column.shortest or 0, key.shortest or 0) >= LONG and column.distinct >= ENOUGH
    return 1 if long and "string" in {column.logical_type, key.logical_type} and not column.primary_key else 0


def _words(name: str) -> tuple[str, ...]:
    """The words of a name; `PATIENTID` has no seam, and is two all the same."""
    *before, last = header_tokens(name) or ("",)
    joined = last.endswith("id") and len(last) > len("paid")
    return (*before, last.removesuffix("id"), "id") if joined else (*before, last) if last else ()


def _stem(words: Sequence[str]) -> tuple[str, ...]:
    """What is left of a name without the words that say that it is a key."""
    return tuple(_singular(word) for word in words if word not in _KEY_WORDS | _NUMBER_WORDS)


def _means(stem: tuple[str, ...], table: TableDraft) -> bool:
    """Whether the last words of one are those of the other: billing_customer_id and crm_customers."""
    name = tuple(_singular(word) for word in _words(table.dataset))
    shorter = min(len(stem), len(name))
    return shorter > 0 and stem[-shorter:] == name[-shorter:]


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word.removesuffix("ies") + "y"
    return word.removesuffix("s") if not word.endswith("ss") else word


def _above(dataset: str, parents: dict[str, set[str]]) -> set[str]:
    """The dataset, and all that it points at, directly or not."""
    found, waiting = {dataset}, [dataset]
    while waiting:
        new = parents[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _holds(child: TableDraft, column: ColumnDraft, parent: TableDraft, key: ColumnDraft) -> bool:
    """Whether every value is one of the key's."""
    values = child.frame.select(pl.col(column.name).alias("value")).drop_nulls().unique()
    keys = parent.frame.select(pl.col(key.name).alias("value"))
    lost = values.join(keys, on="value", how="anti").select(pl.len())
    return int(lost.collect(engine="streaming").item()) == 0


def _pointing(column: ColumnDraft, key: ColumnDraft, edge: _Edge) -> ColumnDraft:
    """The column as a foreign key, which holds what the key holds."""
    pointing = replace(
        column,
        reference=Reference(edge.parent, edge.key),
        logical_type=key.logical_type,
        format=None,
        classification=max(column.classification, key.classification),
    )
    if edge.likeness == 1:
        return pointing.doubted(
            f"its values are all in {edge.parent}.{edge.key}, though its name does not say so"
        )
    return pointing


def _with_subject(draft: TableDraft, tables: dict[str, TableDraft]) -> TableDraft:
    """The one column that points at a person names whom the row is about."""
    pointing = [
        column
        for column in draft.columns
        if column.reference and tables[column.reference.dataset].column(column.reference.column).subject_id
    ]
    if len(pointing) != 1 or any(column.subject_id for column in draft.columns):
        return draft
    column = pointing[0]
    level = max(column.classification, Classification.CONFIDENTIAL)
    return draft.with_columns([replace(column, subject_id=True, classification=level)])


def _with_people(draft: TableDraft) -> TableDraft:
    """Numbers of people that point at no table given here are keys of people all the same."""
    return draft.with_columns([_numbering(column) for column in draft.columns])


def _numbering(column: ColumnDraft) -> ColumnDraft:
    words = _words(column.name)
    people = {_singular(word) for word in words} & _PEOPLE and (
        {*words[-1:]} & (_KEY_WORDS | _NUMBER_WORDS | _PEOPLE)
    )
    countable = column.logical_type in {"integer", "number", "string"} and column.distinct > 1
    if not people or not countable or column.reference or column.info_type:
        return column
    level = max(column.classification, info_types()[RECORD_ID].classification)
    kind: LogicalType = "integer" if column.logical_type == "integer" else "string"
    named = replace(column, info_type=RECORD_ID, classification=level, logical_type=kind)
    return named if column.primary_key else named.doubted("a number of people: say which table it points at")
