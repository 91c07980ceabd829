"""How anonymous a dataset is, and what that cost: k, l, t and the information lost.

k is the smallest number of subjects that share their quasi-identifiers (Sweeney 2002). l is the smallest
number of different values of a sensitive column among them (Machanavajjhala et al. 2007). t is the largest
distance between the values of a class and those of all rows: half the sum of the differences of their shares
(Li et al. 2007, with equal distances). The information lost is non-uniform entropy (de Waal and Willenborg
1999, calculated as ARX does): the bits needed to say which of the values behind a generalized one a cell had,
divided by the bits of all cells. A suppressed cell keeps none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from secure_platform.protect.suppression import members

_ROW, _KEPT, _COUNT = "__row", "__kept", "__count"
_RAW: Final = "__raw "


@dataclass(frozen=True)
class Anonymity:
    """What was reached.

    Attributes:
        k: 0 when no row is left.
        l, t: None without sensitive columns.
        classes: How many different combinations of quasi-identifiers are left.
        suppressed: Rows that stayed behind for it.
        information_lost: 0 to 1.
    """

    rows: int
    suppressed: int
    classes: int
    k: int
    l: int | None  # noqa: E741 - the name of the literature
    t: float | None
    information_lost: float

    def to_json(self) -> dict[str, Any]:
        """As stored in a verdict: fractional numbers as text."""
        body = asdict(self)
        return {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in body.items()}


def measured(
    raw: pl.LazyFrame,
    protected: pl.LazyFrame,
    kept: pl.LazyFrame,
    quasi: Sequence[str],
    sensitive: Sequence[str] = (),
    subject: str | None = None,
) -> Anonymity:
    """Measure what is left of a dataset.

    Args:
        raw: As it was.
        protected: The same rows in the same order, each column protected.
        kept: The rows of `protected` that leave the raw zone.
        quasi: The quasi-identifiers.
        sensitive: Columns of which no person's value may be inferred.
        subject: The column that identifies the subject, if one may have several rows.
    """
    values = [pl.col(name).drop_nulls().n_unique().alias(f"l {name}") for name in sensitive]
    classes = kept.group_by(quasi).agg(members(subject).alias("k"), pl.len().alias("rows"), *values)
    found = classes.select(pl.len(), pl.col("k").min(), pl.col("rows").sum(), pl.col("^l .*$").min())
    counts = found.collect(engine="streaming").row(0, named=True)
    rows = int(protected.select(pl.len()).collect(engine="streaming").item())
    return Anonymity(
        rows=rows,
        suppressed=rows - int(counts["rows"]),
        classes=int(counts["len"]),
        k=int(counts["k"] or 0),
        l=min((int(counts[f"l {name}"] or 0) for name in sensitive), default=None),
        t=max((_furthest(kept, quasi, name) for name in sensitive), default=None),
        information_lost=_lost(raw, protected, kept, quasi),
    )


def _furthest(kept: pl.LazyFrame, quasi: Sequence[str], sensitive: str) -> float:
    """The largest distance between the values of a class and those of all rows."""
    cells = kept.group_by(*quasi, sensitive).agg(pl.len().alias(_COUNT)).collect(engine="streaming")
    if cells.is_empty():
        return 0.0
    total = cells[_COUNT].sum()
    overall = cells.group_by(sensitive).agg((pl.col(_COUNT).sum() / total).alias("overall"))
    inside = cells.with_columns(share=pl.col(_COUNT) / pl.col(_COUNT).sum().over(quasi))
    both = inside.join(overall, on=sensitive, nulls_equal=True)
    # What a class lacks is as much as it has too much of the rest.
    more = (pl.col("share") - pl.col("overall")).clip(0)
    return float(both.group_by(quasi).agg(more.sum().alias("far")).select(pl.col("far").max()).item())


def _lost(raw: pl.LazyFrame, protected: pl.LazyFrame, kept: pl.LazyFrame, quasi: Sequence[str]) -> float:
    classes = kept.select(quasi).unique().with_columns(pl.lit(True).alias(_KEPT))
    beside = pl.concat(
        [raw.select(pl.col(quasi).name.prefix(_RAW)), protected.select(quasi)], how="horizontal"
    )
    marked = beside.join(classes, on=quasi, how="left", nulls_equal=True)
    lost = whole = 0.0
    for name in quasi:
        cells = marked.group_by(f"{_RAW}{name}", name, _KEPT).agg(pl.len().alias(_COUNT)).collect()
        lost_here, whole_here = _bits(cells, f"{_RAW}{name}", name)
        lost, whole = lost + lost_here, whole + whole_here
    return lost / whole if whole else 0.0


def _bits(cells: pl.DataFrame, raw: str, out: str) -> tuple[float, float]:
    """The bits lost in a column, and the bits it had."""
    total = cells[_COUNT].sum()
    with_counts = cells.with_columns(
        of_raw=pl.col(_COUNT).sum().over(raw),
        of_out=pl.when(pl.col(_KEPT)).then(pl.col(_COUNT).sum().over(out)).otherwise(total),
    )
    bits = with_counts.select(
        lost=(pl.col(_COUNT) * (pl.col("of_out") / pl.col("of_raw")).clip(1).log(2)).sum(),
        whole=(pl.col(_COUNT) * (total / pl.col("of_raw")).log(2)).sum(),
    )
    return float(bits["lost"].item()), float(bits["whole"].item())
