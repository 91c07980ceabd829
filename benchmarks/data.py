"""Orders of made-up customers, by seed: the same rows on every machine, none of them anybody's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

SEED: Final = 20260101
ROWS_AT_ONCE: Final = 1_000_000
BYTES_PER_ROW: Final = 64
"""Of the Parquet file, for the check of free disk; the CSV has three times as many."""

FIRST: Final = (
    "Ada",
    "Bela",
    "Chen",
    "Dara",
    "Emil",
    "Fatou",
    "Goran",
    "Hana",
    "Ines",
    "Jonas",
    "Kofi",
    "Lena",
)
LAST: Final = ("Adler", "Brook", "Castillo", "Dvorak", "Eriksen", "Fofana", "Grant", "Hoang", "Ito", "Jensen")
WORDS: Final = (
    *(
        "please",
        "deliver",
        "before",
        "noon",
        "leave",
        "with",
        "neighbour",
        "ring",
        "twice",
        "fragile",
        "gift",
    ),
    *("wrap", "invoice", "follows", "customer", "called", "changed", "colour", "size", "returned", "refund"),
)


def write_orders(path: Path, rows: int) -> None:
    """One zstd Parquet file of twelve columns, written in bounded memory."""
    pieces = path.with_suffix(".pieces")
    pieces.mkdir()
    for number, piece in enumerate(_pieces(rows)):
        piece.write_parquet(pieces / f"{number:05}.parquet")
    pl.scan_parquet(pieces / "*.parquet").sink_parquet(path)
    for piece_path in pieces.iterdir():
        piece_path.unlink()
    pieces.rmdir()


def _pieces(rows: int) -> Iterator[pl.DataFrame]:
    random = np.random.default_rng(SEED)
    for start in range(0, rows, ROWS_AT_ONCE):
        yield _orders(random, start, min(ROWS_AT_ONCE, rows - start))


def _orders(random: np.random.Generator, start: int, count: int) -> pl.DataFrame:
    def drawn(high: int) -> pl.Series:
        return pl.Series(random.integers(0, high, count))

    def chosen(words: tuple[str, ...]) -> pl.Series:
        return pl.Series(words).gather(random.integers(0, len(words), count))

    person = drawn(50_000_000)
    raw = pl.DataFrame(
        {
            "order": pl.int_range(start, start + count, eager=True),
            "first": chosen(FIRST),
            "last": chosen(LAST),
            "person": person,
            "area": drawn(800) + 100,
            "group": drawn(99) + 1,
            "serial": drawn(9_999) + 1,
            "line": drawn(9_000_000) + 1_000_000,
            "days": drawn(1_500),
            "seconds": drawn(86_400),
            "cents": _amounts(random, count),
            "pieces": drawn(12) + 1,
            "code": drawn(20_000),
            "status": chosen(("new", "paid", "packed", "sent", "returned")),
            **{f"word{place}": chosen(WORDS) for place in range(6)},
        }
    )
    day = pl.lit("2020-01-01").str.to_date() + pl.duration(days="days")
    return raw.select(
        order_number=pl.format("ORD-{}", pl.col("order")),
        customer=pl.format("{} {} {}", "first", "last", pl.col("person") % 10_000),
        email=pl.format("{}.{}{}@mail.example", pl.col("first").str.to_lowercase(), "last", "person"),
        ssn=pl.format("{}-{}-{}", "area", _padded("group", 2), _padded("serial", 4)),
        phone=pl.format("+1 {} {}", "area", "line"),
        ordered_on=day,
        sent_at=day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(seconds="seconds"),
        amount=(pl.col("cents") / 100).round(2),
        pieces="pieces",
        article=pl.format("A{}", _padded("code", 5)),
        status="status",
        note=pl.concat_str([f"word{place}" for place in range(6)], separator=" "),
    )


def _amounts(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    return random.lognormal(8, 1, count).astype(np.int64)


def _padded(column: str, width: int) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.zfill(width)
