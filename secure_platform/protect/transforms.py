"""What each transform does to a typed column, as Polars expressions: null stays null, rows stay in place.

No expression can raise on a value, because the error would show the value: what a transform cannot read
becomes null, or, for a ZIP code, 000. `drop` has no expression; the column is not selected.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import polars as pl

from secure_platform.contract.model import DTYPES
from secure_platform.protect import generalize
from secure_platform.protect.conditions import WHEN
from secure_platform.protect.fake import faked
from secure_platform.protect.inputs import Inputs, Transform
from secure_platform.protect.masks import masked
from secure_platform.protect.members import MEMBERS, inside
from secure_platform.protect.reversible import decrypted, encrypted, formatted, unformatted
from secure_platform.protect.scrub import scrubbed
from secure_platform.protect.tokens import hashed, tokenized
from secure_platform.protect.vary import noised, shifted, shuffled
from secure_platform.protect.vault import VAULT, recalled, stored

DROP: Final = "drop"
KEEP: Final = "keep"
_TEXT, _INTEGER, _NUMBER = DTYPES["string"], DTYPES["integer"], DTYPES["number"]
_DATE, _TIME, _BOOLEAN = DTYPES["date"], DTYPES["timestamp"], DTYPES["boolean"]


def _keep(column: pl.Expr, _: Inputs) -> pl.Expr:
    return column


def _redact(column: pl.Expr, _: Inputs) -> pl.Expr:
    # Built from the column and not from a literal: a frame of literals only would have one row.
    return pl.when(pl.lit(False)).then(column)


def _replace(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    return pl.when(column.is_not_null()).then(pl.lit(inputs.params["value"]))


def _conditional(_: pl.Expr, inputs: Inputs) -> pl.Expr:
    return pl.when(inputs.other(WHEN)).then(inputs.parts["then"]).otherwise(inputs.parts["otherwise"])


def _all_to(output: pl.DataType, *dtypes: pl.DataType) -> Mapping[pl.DataType, pl.DataType]:
    return MappingProxyType(dict.fromkeys(dtypes, output))


def _same(*dtypes: pl.DataType) -> Mapping[pl.DataType, pl.DataType]:
    return MappingProxyType({dtype: dtype for dtype in dtypes})


_ANY: Final = _same(*DTYPES.values())
_TOKENS: Final = _all_to(pl.String(), _TEXT, _INTEGER, _DATE, _TIME)
_CELLS: Final = _all_to(pl.String(), _TEXT, _INTEGER, _NUMBER, _DATE, _TIME)
_DAYS: Final = _all_to(pl.Date(), _DATE, _TIME)

TRANSFORMS: Final[Mapping[str, Transform]] = MappingProxyType(
    {
        KEEP: Transform(_keep, _ANY),
        "redact": Transform(_redact, _ANY),
        "replace": Transform(_replace, _same(_TEXT)),
        "hash": Transform(hashed, _TOKENS, key="token"),
        "tokenize": Transform(tokenized, _TOKENS, key="token"),
        "encrypt.deterministic": Transform(encrypted, _CELLS, key="cell", undo=decrypted),
        "encrypt.randomized": Transform(encrypted, _CELLS, key="cell", undo=decrypted),
        VAULT: Transform(stored, _TOKENS, key="token", undo=recalled),
        "fpe": Transform(formatted, _same(_TEXT), key="token", undo=unformatted),
        "conditional": Transform(_conditional, _ANY),
        MEMBERS: Transform(inside, _same(_TEXT)),
        "fake": Transform(faked, _same(_TEXT), key="token"),
        "mask": Transform(masked, _same(_TEXT)),
        "scrub": Transform(scrubbed, _same(_TEXT)),
        "shift_date": Transform(shifted, _same(_DATE, _TIME), key="token"),
        "noise": Transform(noised, _same(_INTEGER, _NUMBER), key="token"),
        "shuffle": Transform(shuffled, _same(_INTEGER, _NUMBER, _BOOLEAN, _DATE, _TIME), key="token"),
        "generalize.year": Transform(generalize.year, _all_to(pl.Int32(), _TEXT, _INTEGER, _DATE, _TIME)),
        "generalize.quarter": Transform(generalize.quarter, _DAYS),
        "generalize.month": Transform(generalize.month, _DAYS),
        "generalize.week": Transform(generalize.week, _DAYS),
        "generalize.day": Transform(generalize.day, _all_to(pl.Date(), _TIME)),
        "generalize.hour": Transform(generalize.hour, _same(_TIME)),
        "generalize.age": Transform(generalize.age, _all_to(pl.Int32(), _INTEGER, _NUMBER, _DATE, _TIME)),
        "generalize.zip3": Transform(generalize.zip3, _all_to(pl.String(), _TEXT, _INTEGER)),
        "generalize.bucket": Transform(generalize.bucket, _same(_INTEGER, _NUMBER)),
        "generalize.hierarchy": Transform(generalize.hierarchy, _all_to(pl.String(), _TEXT, _INTEGER)),
        "generalize.limits": Transform(generalize.limits, _same(_INTEGER, _NUMBER)),
    }
)
"""By full name. Booleans and floats have no tokens: two values hide nothing, and 0.1 has many texts. A text
in another row would still name whom it named.
"""
