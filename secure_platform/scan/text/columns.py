"""Free text in a column of a table: the spans of a sample of its cells stand for all of them.

Only cells that read like prose are searched, each different one once, and the same ones in every scan. What a
single span says is too little: a type counts where enough of the cells hold it surely.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from secure_platform.scan.secrets.columns import ESTIMATED
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.scan.text.spans import Span

SAMPLE: Final = 1000
INSIDE: Final = "inside free text"
_SURE: Final = 0.82
_FEWEST: Final = 0.01
# Small words that follow each other as in a sentence, not as in a title; or pairs of names and values.
PROSE: Final = r"\p{Ll}{2,}[,;:'\x{2019}]? \p{Ll}{2,}[,;:'\x{2019}]? \p{Ll}{2,}|\w=[^&=\s]*[&;]\w+="


@dataclass(frozen=True)
class InText:
    """An info type inside the cells of a column.

    Attributes:
        count: Cells that hold it.
    """

    info_type: str
    count: int
    confidence: float
    reasons: tuple[str, ...]


def in_prose(scanner: TextScanner, texts: pl.LazyFrame, distinct: int) -> list[InText]:
    """What the prose among the cells of a column holds.

    Args:
        scanner: Its types are looked for.
        texts: A frame with the column `value`.
        distinct: Estimated distinct values, for the size of the sample.
    """
    value = pl.col("value")
    prose = texts.filter(value.str.contains(PROSE))
    chosen = prose.filter(value.hash(seed=0) % max(1, distinct // SAMPLE) == 0)
    cells = chosen.group_by("value").agg(pl.len().alias("rows")).sort("value").collect(engine="streaming")
    if cells.is_empty():
        return []
    everything = int(prose.select(pl.len()).collect(engine="streaming").item())
    looked_at = int(cells["rows"].sum())
    found = scanner.spans_of(cells["value"])
    rows: defaultdict[str, int] = defaultdict(int)
    best: dict[str, Span] = {}
    for place, spans in found.items():
        for kind, span in _surest(spans).items():
            rows[kind] += int(cells["rows"][place])
            best[kind] = max(best.get(kind, span), span, key=lambda each: each.confidence)
    whole = looked_at == everything
    return [
        InText(
            kind,
            count if whole else max(1, count * everything // looked_at),
            best[kind].confidence,
            (*best[kind].reasons, INSIDE, *([] if whole else [ESTIMATED])),
        )
        for kind, count in rows.items()
        if count >= _FEWEST * looked_at
    ]


def _surest(spans: Sequence[Span]) -> dict[str, Span]:
    """The surest span of each type."""
    ranked = sorted(spans, key=lambda span: span.confidence)
    return {span.info_type: span for span in ranked if span.confidence >= _SURE}
