"""The first look at every cell, in batches: what cannot be in a batch is not searched for.

`alphabet.py` says which patterns take a character that no cell of the batch has, or more of them than the
longest cell has. Cells that are one word of ASCII each, as tokens are, are searched from their beginning only
for what has to begin at an end of a word. Left out are searches that must fail, so the same is found.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import inf
from typing import Any, Final

import numpy as np
import polars as pl

from secure_platform.scan.alphabet import ASCII, DIGITS, EVERY, LOWER, OTHERS, UPPER, WORD, needs
from secure_platform.scan.cells import column_of, shape, text_of

_CANDIDATE: Final = 1
_SIGNS: Final = {"documents": 2, "prose": 4}
# Fewer cells are searched sooner than a pattern is compiled for them.
WORTH_IT: Final = 8192
_PART: Final = 1 << 16
_STEP: Final = 1 << 7
_FIRST: Final = 256
# Few kinds of texts make few patterns; Polars keeps 32 of them compiled.
_LENGTHS: Final = (4, 8, 12, 16, 24, 32, 48, 64)
_KINDS: Final = (DIGITS, UPPER, LOWER)
_NEARLY: Final = 0.75
_MADE: Final = 16


class Search:
    """Patterns, of which only those are searched for that the texts can match.

    Args:
        patterns: Alternatives in the syntax of Rust.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(patterns)
        self._needs = [needs(pattern) for pattern in self._patterns]
        self._whole = _either(self._patterns) if self._patterns else None
        self._kept = lru_cache(maxsize=1024)(self._chosen)
        self._made: set[str] = set()

    def within(self, alphabet: int, longest: float) -> str | None:
        """What finds in texts of these characters what all patterns find; nothing if that is nothing.

        Args:
            alphabet: The characters of the texts, as in `alphabet.py`.
            longest: No text has more bytes.
        """
        return self._kept(alphabet, next((length for length in _LENGTHS if longest <= length), inf))

    def _chosen(self, alphabet: int, longest: float) -> str | None:
        word = not alphabet & ~WORD
        anywhere: list[str] = []
        from_start: list[str] = []
        for pattern, need in zip(self._patterns, self._needs, strict=True):
            shortest = need.shortest(alphabet) if need else 0
            if shortest > longest or shortest == inf:
                continue
            begins = need is not None and word and shortest > 0 and need.bound(alphabet)
            (from_start if begins else anywhere).append(pattern)
        if len(anywhere) >= _NEARLY * len(self._patterns):
            return self._whole
        chosen = [*anywhere, *([f"^(?:{_either(from_start)})"] if from_start else [])]
        return self._compiled_once(_either(chosen)) if chosen else None

    def _compiled_once(self, pattern: str) -> str | None:
        """The pattern, or all of them where tables of many kinds have made more than are kept compiled."""
        if len(self._made) < _MADE:
            self._made.add(pattern)
        return pattern if pattern in self._made else self._whole


class FirstLook:
    """What is looked for.

    Args:
        candidates: What can be evidence.
        documents: What holds values under names.
        prose: What reads like a sentence.
    """

    def __init__(self, *, candidates: Search, documents: Search, prose: Search) -> None:
        self._candidates = candidates
        self._signs = {_SIGNS["documents"]: documents, _SIGNS["prose"]: prose}

    def over(self, frame: pl.LazyFrame, columns: Iterable[str]) -> pl.LazyFrame:
        """One lazy row with a struct for each column that can hold evidence.

        Its fields: how many cells are `filled`, how many of them are `candidates`, about how many are
        `distinct`, and whether `documents` and `prose` are among them.

        Raises:
            DataRefusedError: If a column holds bytes, which cannot be searched.
        """
        schema = frame.collect_schema()
        forms = {name: shape(name, schema[name]) for name in columns}
        # By place, because a frame may have columns of any name.
        places = {name: f"{place}" for place, name in enumerate(forms) if forms[name] != "none"}
        texts = {name: place for name, place in places.items() if forms[name] == "text"}
        cells = frame.select(
            (text_of(name, schema[name]) if name in texts else column_of(name)).alias(place)
            for name, place in places.items()
        )
        seen = cells.with_columns(
            pl.col(place)
            .map_batches(self._seen, return_dtype=pl.UInt8, is_elementwise=True)
            .alias(_seen(place))
            for place in texts.values()
        )
        return seen.select(_counts(place, text=name in texts).alias(name) for name, place in places.items())

    def _seen(self, cells: pl.Series) -> pl.Series:
        """Of each cell whether it is a candidate, and of all cells what is among them."""
        alphabet, longest = alphabet_of(cells) if len(cells) >= WORTH_IT else (EVERY, inf)
        signs = self._signs.items()
        among = sum(flag for flag, sign in signs if _is_among(cells, sign.within(alphabet, longest)))
        pattern = self._candidates.within(alphabet, longest)
        if pattern is None:
            return pl.repeat(among, len(cells), dtype=pl.UInt8, eager=True)
        return cells.str.contains(pattern).fill_null(value=False).cast(pl.UInt8) * _CANDIDATE + among


def alphabet_of(cells: pl.Series) -> tuple[int, int]:
    """The characters of some text cells, letters and digits as kinds; and the bytes of the longest cell."""
    array: Any = cells.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    longest = int(np.diff(ends).max(initial=0))
    return _alphabet(_characters(memoryview(data)[ends[0] : ends[-1]] if data is not None else b"")), longest


def _characters(data: bytes | memoryview) -> set[int]:
    """All bytes that occur: of each part, those that were not seen before."""
    known: set[int] = set()
    seen = b""
    for start in range(0, len(data), _PART):
        rest = bytes(data[start : start + _PART]).translate(None, seen)
        while rest:
            known |= set(rest[::_STEP])
            seen = bytes(known)
            rest = rest.translate(None, seen)
    return known


def _alphabet(characters: Iterable[int]) -> int:
    alphabet = 0
    for character in characters:
        each = OTHERS if character >= ASCII else 1 << character
        alphabet |= next((kind for kind in _KINDS if kind & each), each)
    return alphabet


def _seen(place: str) -> str:
    return f"{place} seen"


def _counts(place: str, *, text: bool) -> pl.Expr:
    cells, seen = pl.col(place), pl.col(_seen(place)) if text else pl.lit(0, dtype=pl.UInt8)
    counts = {
        "filled": cells.count(),
        "candidates": (seen & _CANDIDATE).sum(),
        "distinct": cells.approx_n_unique() if text else cells.count(),
    }
    return pl.struct(
        *(count.cast(pl.UInt64).alias(name) for name, count in counts.items()),
        *((seen & sign > 0).any().alias(name) for name, sign in _SIGNS.items()),
    )


def _is_among(cells: pl.Series, pattern: str | None) -> bool:
    if pattern is None:
        return False
    return any(part.str.contains(pattern).any() for part in (cells.head(_FIRST), cells))


def _either(patterns: Iterable[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)
