"""Free text keeps its words and loses its values: each finding of the scanner becomes its info type.

The scanner knows the platform's info types and, from the plan, those of the product. What it does not find
stays in the text. A scrubbed column is therefore searched for the originals of all other columns, and is not
classified as free text alone.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import polars as pl

from secure_platform.protect.inputs import Inputs
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.scan.text.spans import Span
from secure_platform.taxonomy.custom import custom_types

TYPES: Final = "types"
"""The parameter of a plan that holds the product's own info types, as JSON."""


def scrubbed(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """Every value in a text as `[INFO_TYPE]`."""
    scanner = _scanner(str(inputs.params[TYPES]))
    return column.map_batches(
        lambda texts: _scrubbed(texts, scanner), return_dtype=pl.String, is_elementwise=True
    )


def _scrubbed(texts: pl.Series, scanner: TextScanner) -> pl.Series:
    distinct = texts.drop_nulls().unique(maintain_order=True)
    found = scanner.spans_of(distinct)
    if not found:
        return texts
    told = distinct.gather(list(found))
    clean = [_without(text, spans) for text, spans in zip(told, found.values(), strict=True)]
    return texts.replace(told, pl.Series(clean, dtype=pl.String))


def _without(text: str, spans: Sequence[Span]) -> str:
    for span in reversed(spans):
        text = f"{text[: span.start]}[{span.info_type}]{text[span.end :]}"
    return text


@lru_cache(maxsize=8)
def _scanner(types: str) -> TextScanner:
    return TextScanner(custom_types(json.loads(types)))
