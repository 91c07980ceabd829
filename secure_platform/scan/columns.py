"""Every cell of every column is searched; the result has column, type, counts and reasons, never a value.

The first look is one row of aggregates over all columns. The second look reads only the columns with
candidates or a telling name again, and all text for secrets, because their appearance is defined by separate
rules.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Final

import polars as pl

from secure_platform.errors import ContractError
from secure_platform.scan.cells import Shape, column_of, shape, text_of
from secure_platform.scan.evidence import Look, Tally, tallies
from secure_platform.scan.first_look import FirstLook, Search
from secure_platform.scan.forms import FORMS
from secure_platform.scan.fuse import Judgement, by_type, judge
from secure_platform.scan.headers import Headers
from secure_platform.scan.keys import numbered_through, told_by
from secure_platform.scan.nested import Values, inside, told
from secure_platform.scan.patterns import compile_types, matches, parts, union
from secure_platform.scan.secrets.columns import scan_columns
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.engine import Engine
from secure_platform.scan.secrets.findings import MINIMUM_CONFIDENCE
from secure_platform.scan.text.columns import PROSE, in_prose
from secure_platform.scan.text.forms import forms_of
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.taxonomy.info_types import InfoType, info_types
from secure_platform.taxonomy.reading import compiles

DATE: Final = "DATE"
INSIDE: Final = "inside nested values"
TOLD: Final = "named by another column"


@dataclass(frozen=True)
class Finding:
    """An info type found in a column.

    Attributes:
        count: Cells that carry the evidence.
        ratio: `count` as a share of the non-null cells.
        confidence: 0-1.
        reasons: What the confidence rests on.
    """

    column: str
    info_type: str
    count: int
    ratio: float
    confidence: float
    reasons: tuple[str, ...]


class Scanner:
    """Finds the info types of a taxonomy, and secrets, in frames of any column types.

    Args:
        types: The platform's, or a product's with its own.

    Raises:
        ContractError: If a product has more words and patterns than one search can hold.
        UsageError: If a pattern of a product's own cannot be searched in text; names the type.
    """

    def __init__(self, types: Mapping[str, InfoType]) -> None:
        self.types = types
        self._patterns = compile_types(types)
        self._union = union(self._patterns)
        self._first = FirstLook(
            candidates=Search(parts(self._patterns)),
            documents=Search(form.cell for form in FORMS),
            prose=Search([PROSE]),
        )
        self._headers = Headers(types)
        if types is not info_types():
            self._require_searchable()

    @cached_property
    def _text(self) -> TextScanner:
        return TextScanner(
            {name: kind for name, kind in self.types.items() if kind.sensitive and kind.group != "secret"}
        )

    def _require_searchable(self) -> None:
        """Refuse here what would end a scan in the middle."""
        if not compiles(self._union):
            raise ContractError(
                "The product's own info types have more words and patterns than one search can hold",
                "Shorten the lists of words in its info_types.yaml.",
            )
        for name, kind in self.types.items():
            if kind is not info_types().get(name):
                forms_of(kind)

    def observe(self, frame: pl.LazyFrame, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """The first look: one lazy row with one struct per column that can hold evidence.

        Args:
            frame: Typed or text columns.
            columns: Columns to look at; all when not given.

        Raises:
            DataRefusedError: If a column holds bytes, which cannot be searched.
        """
        return self._first.over(frame, columns or frame.collect_schema().names())

    def findings(self, observed: pl.DataFrame, frame: pl.LazyFrame, header: Sequence[str]) -> list[Finding]:
        """The second look, over the same frame that `observed` was computed from.

        Args:
            observed: The collected row of `observe`.
            frame: The frame, read again where needed.
            header: All column names of the table: a bare `name` is a person's only beside personal columns.

        Returns:
            Findings in column order, then in the order of the taxonomy.
        """
        schema = frame.collect_schema()
        named = self._headers.named(header)
        columns = [name for name in observed.columns if name in named]
        counts = {name: _Counts(**observed.get_column(name).item()) for name in columns}
        forms = {name: shape(name, schema[name]) for name in columns}
        values = {
            name: _values(self._headers, frame, name, text_of(name, schema[name]), named[name])
            for name in columns
        }
        looks = [self._look(name, forms[name], values[name], counts[name]) for name in columns]
        filled = {name: counts[name].filled for name in columns}
        found = self._judged(looks)
        found += self._inside(frame, looks, counts, header)
        found += [
            each
            for look in looks
            if forms[look.column] == "date" and look.filled
            for each in self._dated(look)
        ]
        found += [each for look in looks if counts[look.column].prose for each in self._in_prose(look)]
        found += secret_findings(_secrets(), frame.select(map(column_of, columns)), filled)
        places = {name: place for place, name in enumerate(columns)}
        return sorted(self._unexplained(self._merged(found)), key=lambda finding: places[finding.column])

    def scan(self, frame: pl.LazyFrame) -> list[Finding]:
        """Both looks at once, over every row and column."""
        observed = self.observe(frame).collect(engine="streaming")
        return self.findings(observed, frame, frame.collect_schema().names())

    def _look(self, name: str, form: Shape, values: Values, counts: "_Counts") -> Look:
        wanted = {
            "text": [
                p for p in self._patterns if p.kind.id in values.named or (counts.candidates and p.by_value)
            ],
            "number": [p for p in self._patterns if p.kind.id in values.named and p.named_cell],
        }
        return Look(
            column=name,
            texts=values.texts,
            patterns=tuple(wanted.get(form, ())),
            named=values.named,
            vetoed=values.vetoed,
            keyed=values.keyed,
            filled=counts.filled,
            candidates=counts.candidates,
            distinct=counts.distinct,
        )

    def _inside(
        self,
        frame: pl.LazyFrame,
        looks: Sequence[Look],
        counts: Mapping[str, "_Counts"],
        header: Sequence[str],
    ) -> list[Finding]:
        """What values inside cells are, and values that another column names: never more than cells."""
        schema = frame.collect_schema()
        cells = [
            (look.column, INSIDE, values)
            for look in looks
            if counts[look.column].documents
            for values in inside(self._headers, look.column, look.texts, header)
        ]
        for column, teller in told_by(header).items():
            if column in counts and teller in counts and shape(column, schema[column]) == "text":
                key, value = (text_of(name, schema[name]) for name in (teller, column))
                pairs = frame.select(key.alias("key"), value.alias("value"))
                cells += [(column, TOLD, values) for values in told(self._headers, column, pairs, header)]
        rows = pl.collect_all([_counted(values, self._union) for _, _, values in cells], engine="streaming")
        found = [
            (reason, self._judged([self._look(column, "text", values, _Counts(**row.row(0, named=True)))]))
            for (column, reason, values), row in zip(cells, rows, strict=True)
        ]
        return [
            _of_cells(each, counts[each.column].filled, reason)
            for reason, findings in found
            for each in findings
        ]

    def _judged(self, looks: Sequence[Look]) -> list[Finding]:
        looks = [look for look in looks if look.patterns and look.filled]
        found = tallies(looks)
        judged = [
            (look, each.kind.id, judge(each, found.get((place, each.kind.id), Tally()), look.filled))
            for place, look in enumerate(looks)
            for each in look.patterns
        ]
        return [
            _finding(look.column, kind, verdict, look.filled) for look, kind, verdict in judged if verdict
        ]

    def _dated(self, look: Look) -> list[Finding]:
        """Typed dates need no pattern: the general type, and each narrower one that the name means."""
        kinds = (kind for name, kind in self.types.items() if name in look.named)
        return [
            _finding(look.column, kind, by_type(named=kind != DATE, filled=look.filled), look.filled)
            for kind in (*(kind.id for kind in kinds if DATE in kind.supersedes), DATE)
        ]

    def _in_prose(self, look: Look) -> list[Finding]:
        """What sentences hold that no pattern of a cell shows; a telling name says what its cells are."""
        found = [] if look.named else in_prose(self._text, look.texts, look.distinct)
        return [
            Finding(
                look.column,
                each.info_type,
                each.count,
                each.count / look.filled,
                each.confidence,
                each.reasons,
            )
            for each in found
        ]

    def _merged(self, found: Sequence[Finding]) -> list[Finding]:
        """One finding for a column and type, in the order of the taxonomy."""
        several: dict[tuple[str, str], list[Finding]] = defaultdict(list)
        for finding in found:
            several[finding.column, finding.info_type].append(finding)
        ranks = {kind: rank for rank, kind in enumerate(self.types)}
        return sorted(map(_one, several.values()), key=lambda finding: ranks[finding.info_type])

    def _unexplained(self, found: Sequence[Finding]) -> list[Finding]:
        """Without the findings that another type explains, cell for cell; of two alike the first stays."""
        counts = {(finding.column, finding.info_type): finding.count for finding in found}
        explained: set[tuple[str, str]] = set()
        for finding in found:
            others = {(finding.column, other) for other in self.types[finding.info_type].supersedes}
            if (finding.column, finding.info_type) not in explained:
                explained |= {other for other in others if counts.get(other, 0) <= finding.count}
        return [finding for finding in found if (finding.column, finding.info_type) not in explained]


@dataclass(frozen=True)
class _Counts:
    """One column's first look.

    Attributes:
        filled: Non-null cells.
        candidates: Cells that the prefilter matches.
        distinct: Estimated distinct values.
        documents: Whether cells hold values under names.
        prose: Whether cells read like sentences.
    """

    filled: int
    candidates: int
    distinct: int
    documents: bool = False
    prose: bool = False


def secret_findings(engine: Engine, frame: pl.LazyFrame, filled: Mapping[str, int]) -> list[Finding]:
    """What the rules of an engine find in the cells of a frame.

    Args:
        engine: Has the rules.
        frame: Typed or text columns.
        filled: How many cells of each column are not null.
    """
    return [
        Finding(
            each.column,
            each.info_type,
            each.rows,
            each.rows / filled[each.column],
            each.confidence,
            tuple(sorted(each.reasons)),
        )
        for each in scan_columns(engine, frame)
    ]


@cache
def _secrets() -> Engine:
    return Engine(own_rules(), MINIMUM_CONFIDENCE)


def _values(headers: Headers, frame: pl.LazyFrame, name: str, text: pl.Expr, named: frozenset[str]) -> Values:
    texts = frame.select(text.alias("value")).filter(pl.col("value").is_not_null())
    keyed = headers.keyed(name) & named
    if keyed and numbered_through(texts):
        named, keyed = named - keyed, frozenset()
    return Values(texts, named, headers.vetoed(name), keyed)


def _counted(values: Values, pattern: str) -> pl.LazyFrame:
    value = pl.col("value")
    return values.texts.select(
        value.count().alias("filled"),
        matches(value, pattern).sum().alias("candidates"),
        value.approx_n_unique().alias("distinct"),
    )


def _of_cells(finding: Finding, filled: int, reason: str) -> Finding:
    count = min(finding.count, filled)
    return replace(finding, count=count, ratio=count / filled, reasons=(*finding.reasons, reason))


def _one(alike: Sequence[Finding]) -> Finding:
    """What the surest says, of as many cells as the most common of them."""
    surest = max(alike, key=lambda finding: (finding.confidence, finding.count))
    most = max(alike, key=lambda finding: finding.count)
    return replace(surest, count=most.count, ratio=most.ratio)


def _finding(column: str, kind: str, verdict: Judgement, filled: int) -> Finding:
    return Finding(column, kind, verdict.count, verdict.count / filled, verdict.confidence, verdict.reasons)
