"""Keys hold over the whole dataset: two equal values count wherever in the file they are.

While batches go by, 64-bit hashes of the keys and line numbers are kept, 16 bytes for a row and key; the rows
whose hash appears twice are then read again and compared exactly. Nulls are no values and equal nothing.
Values are compared as their contract types, so `1.0` and `1` are one number.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import polars as pl

from secure_platform.contract.model import Contract
from secure_platform.source.csv import LINE
from secure_platform.validate.casts import typed

HASH_SEED: Final = 0


class Key(NamedTuple):
    """Columns whose values together must not repeat."""

    rule: str
    columns: tuple[str, ...]

    @property
    def label(self) -> str:
        """The columns joined by `+`."""
        return "+".join(self.columns)


def keys_of(contract: Contract) -> tuple[Key, ...]:
    """The primary key, and every other column that is unique by itself."""
    primary = contract.primary_key
    unique = (c.name for c in contract.columns if c.unique and primary != (c.name,))
    return (
        *((Key("primary_key", primary),) if primary else ()),
        *(Key("unique", (name,)) for name in unique),
    )


class KeySearch:
    """Finds the rows of a dataset that share a key.

    Args:
        contract: The dataset.
        text: Its text columns and `__line`; read once more if there seem to be duplicates.
    """

    def __init__(self, contract: Contract, text: pl.LazyFrame) -> None:
        self._contract = contract
        self._text = text
        self._keys = keys_of(contract)
        self._hashes: list[pl.DataFrame] = []

    def add(self, text: pl.DataFrame) -> None:
        """Take note of a batch."""
        if self._keys:
            self._hashes.append(
                text.select(self._typed_columns())
                .select(LINE, *(self._hash(key).alias(str(i)) for i, key in enumerate(self._keys)))
                .rechunk()
            )

    def duplicates(self) -> Iterator[tuple[Key, pl.Series]]:
        """Each key that repeats, and the lines of all rows that share one of its values."""
        if not self._hashes:
            return
        hashes = pl.concat(self._hashes)
        for index, key in enumerate(self._keys):
            repeated = pl.col(str(index)).is_duplicated() & pl.col(str(index)).is_not_null()
            candidates = hashes.lazy().filter(repeated).select(LINE)
            if candidates.head(1).collect().height:
                lines = self._confirm(key, candidates)
                if lines.len():
                    yield key, lines

    def _confirm(self, key: Key, candidates: pl.LazyFrame) -> pl.Series:
        rows = self._text.join(candidates, on=LINE, how="semi").select(self._typed_columns())
        return (
            rows.filter(pl.all_horizontal(pl.col(*key.columns).is_not_null()))
            .select(LINE, pl.struct(key.columns).alias("key"))
            .collect(engine="streaming")
            .filter(pl.col("key").is_duplicated())[LINE]
        )

    def _typed_columns(self) -> list[pl.Expr]:
        names = {name for key in self._keys for name in key.columns}
        return [pl.col(LINE), *(typed(column) for column in self._contract.columns if column.name in names)]

    def _hash(self, key: Key) -> pl.Expr:
        present = pl.all_horizontal(pl.col(*key.columns).is_not_null())
        return pl.when(present).then(pl.struct(key.columns).hash(HASH_SEED))
