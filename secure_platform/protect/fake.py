"""Made-up values that look real, chosen by a keyed hash of the original: the same everywhere.

There are fewer made-up values than originals, so two originals may get the same one; keys are therefore never
faked. None of them reaches a real person; `fakes.yaml` says why.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform.contract.load import load_document
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text, hmac_hex
from secure_platform.taxonomy.reading import plain_letters

DOCUMENT: Final = Path(__file__).with_name("fakes.yaml")
KIND: Final = "as"
FAKE: Final = "fake"
TRUE_BY_CHANCE: Final = frozenset(
    {"name", "first_name", "last_name", "username", "company", "city", "street", "postal_code"}
)
"""Kinds of which some value is also that of somebody; the others are of ranges that nobody has."""
_PART: Final = re.compile(r"\{(?P<list>[a-z_]+)\}|(?P<digits>#{1,9})|(?P<check>\$)|(?P<text>[^{}#$]+)")
_DRAW_HEX: Final = 8
"""32 bits: of 64 digits, eight draws."""
_PLAIN: Final = "_plain"
_NUMBERS: Final[Mapping[str, Sequence[str]]] = {
    "house": [str(number) for number in range(1, 200)],
    "octet": [str(number) for number in range(1, 255)],
    "hex": [f"{number:02X}" for number in range(256)],
    "area": [f"{number}" for number in range(201, 990, 3) if number % 100 != 11],  # noqa: PLR2004 - 211, 311 … are services
}


def faked(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A made-up value of the kind that the plan names."""
    pattern, lists = _pattern(str(inputs.params[KIND]), str(inputs.params["locale"]))
    drawn = hmac_hex(canonical_text(column, inputs.dtype), inputs.required_key().key)
    return pl.concat_str(_pieces(pattern, lists, drawn))


def kind_for(info_type: str | None) -> str | None:
    """The kind of made-up value for an info type."""
    kinds: Mapping[str | None, str] = _document()["info_types"]
    return kinds.get(info_type)


def _pieces(pattern: str, lists: Mapping[str, Sequence[str]], drawn: pl.Expr) -> list[pl.Expr]:
    made: list[pl.Expr] = []
    for part in _PART.finditer(pattern):
        if part["text"]:
            made.append(pl.lit(part["text"]))
        elif part["check"]:
            made.append(_check_digit(pl.concat_str(made)))
        else:
            draw = drawn.str.slice(_DRAW_HEX * len(made), _DRAW_HEX).str.to_integer(base=16, dtype=pl.Int64)
            made.append(_words(draw, lists[part["list"]]) if part["list"] else _digits(draw, len(part[0])))
    return made


def _words(draw: pl.Expr, words: Sequence[str]) -> pl.Expr:
    places = pl.Series(range(len(words)), dtype=pl.Int64)
    word: pl.Expr = (draw % len(words)).replace_strict(places, pl.Series(words), return_dtype=pl.String)
    return word


def _digits(draw: pl.Expr, count: int) -> pl.Expr:
    return (draw % int(10**count)).cast(pl.String).str.zfill(count)


def _check_digit(number: pl.Expr) -> pl.Expr:
    """The digit that makes the sum of ISO/IEC 7812-1 a multiple of ten, behind fifteen digits."""
    total = pl.lit(0, pl.Int64)
    for place in range(15):
        digit = number.str.slice(place, 1).cast(pl.Int64)
        doubled = digit * 2
        total += doubled // 10 + doubled % 10 if place % 2 == 0 else digit
    return ((10 - total % 10) % 10).cast(pl.String)


@cache
def _document() -> dict[str, Any]:
    return load_document(DOCUMENT)


@cache
def _pattern(kind: str, locale: str) -> tuple[str, Mapping[str, Sequence[str]]]:
    """A pattern and the lists that it draws from."""
    document = _document()
    pattern = document["kinds"][kind]
    lists = {**_NUMBERS, **document["lists"], **document["locales"][locale]}
    plain = {f"{name}{_PLAIN}": [_plain(word) for word in words] for name, words in lists.items()}
    return pattern if isinstance(pattern, str) else pattern[locale], lists | plain


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", plain_letters(word).lower())
