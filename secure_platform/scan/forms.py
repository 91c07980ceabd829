"""Ways in which a cell holds values under names: JSON, markup, assignments, labelled lines, laid out records.

They are read with patterns and not with a parser: cells of any shape, broken ones and parts of documents too,
are searched in the same streaming query. Every form gives pairs of a key and a value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from secure_platform.scan.layouts import LAYOUT, OBJECT_IDENTIFIERS, placed

_VALUE: Final = pl.col("value")
_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_SCALAR: Final = rf"(?:{_STRING}|-?[0-9][0-9.eE+-]*)"
_BEFORE_VALUE: Final = rf"^{_STRING}\s*:\s*(?:\[\s*)?"
_PAIR: Final = _BEFORE_VALUE.removeprefix("^") + _SCALAR
_FLAT: Final = rf"^\s*\[\s*{_SCALAR}(?:\s*,\s*{_SCALAR})*\s*\]\s*$"

# An object that says in one member what another one holds: FHIR, tags of cloud services, lists of entities.
_SAYS: Final = (
    r'"(?i:(?:[a-z]+_)?(?:type|name|key|label|field|attribute|system|url|text|display|code|title|question'
    r'|property|parameter|use))"'
)
_HOLDS: Final = r'"(?i:(?:[a-z]+_)?(?:value|answer|val)|value[A-Z][A-Za-z]+)"'
_NEXT: Final = r"[\s}\]]*,\s*"
_SAID: Final = rf"{_SAYS}\s*:\s*{_STRING}{_NEXT}"
_TYPED: Final = rf"(?:{_SAID}){{1,6}}{_HOLDS}\s*:\s*(?:\[\s*)?{_SCALAR}"

_ADDRESS: Final = r"(?i)(?:https?://|urn:)[^\s\"]*[/:]"

_TAG: Final = r"<[A-Za-z][\w:.-]*(?:\s[^<>]*)?>"
_ELEMENT: Final = r"<[A-Za-z][\w:.-]*(?:\s[^<>]*)?>[^<>]*[^<>\s][^<>]*</"
_ROOT: Final = r"""\sroot\s*=\s*["']([0-9.]+)["']"""
_EXTENSION: Final = r"""\sextension\s*=\s*["']([^"'<>]+)["']"""
_ATTRIBUTE: Final = r"""[A-Za-z][\w:.-]*\s*=\s*(?:"[^"<>]+"|'[^'<>]+')"""

_WORD: Final = r"[A-Za-z_][\w.-]{0,40}"
_ASSIGNED: Final = rf"""(?:^|[\s?&;,(\[{{|]){_WORD}=(?:"[^"]+"|'[^']+'|[^\s&;,"'|()\[\]{{}}<>]+)"""
_LABEL: Final = r"(?m)^[ \t]*[A-Z][A-Za-z0-9 '/#()_-]{1,40}?[ \t]*:[ \t]+\S[^\r\n]{0,120}"

_LONGEST_KEY: Final = 200


@dataclass(frozen=True)
class Form:
    """One way to hold values.

    Attributes:
        cell: What cells of this form match.
        pairs: From a frame with the column `value` to one with `key`, which may be null, and `value`.
    """

    cell: str
    pairs: Callable[[pl.LazyFrame], pl.LazyFrame]


def pairs_of(texts: pl.LazyFrame) -> pl.LazyFrame:
    """Every value that the cells hold under a name, also one level deeper, with its key."""
    outer = _pairs(texts)
    inner = _pairs(outer.select(_VALUE.str.replace_all(r'\\+(["/])', "$1")))
    return pl.concat([outer, inner])


def _pairs(texts: pl.LazyFrame) -> pl.LazyFrame:
    found = [form.pairs(texts.filter(_VALUE.str.contains(form.cell))) for form in FORMS]
    key = pl.col("key").str.slice(0, _LONGEST_KEY)
    return pl.concat(found).select(key, _VALUE.str.replace(r"^(?i:tel|fax|mailto):", ""))


def _json(texts: pl.LazyFrame) -> pl.LazyFrame:
    """Members with a scalar value; members of a plain list have no key."""
    parts = pl.when(_VALUE.str.contains(_FLAT)).then(_VALUE.str.extract_all(_SCALAR))
    found = texts.select(parts.otherwise(_VALUE.str.extract_all(_PAIR)))
    return _exploded(found).select(
        _VALUE.str.extract(rf"^({_STRING})\s*:").str.strip_chars('"').alias("key"),
        _VALUE.str.replace(_BEFORE_VALUE, "").str.strip_chars('"'),
    )


def _typed(texts: pl.LazyFrame) -> pl.LazyFrame:
    """Values under what their object says that they are: its words, of addresses the last part."""
    found = _exploded(texts.select(_VALUE.str.extract_all(_TYPED)))
    said = _VALUE.str.replace(rf"{_HOLDS}\s*:\s*(?:\[\s*)?{_SCALAR}$", "")
    words = said.str.replace_all(rf"{_SAYS}\s*:", " ").str.replace_all(_ADDRESS, " ")
    givers = {f' {number}"': f' {giver}"' for number, giver in OBJECT_IDENTIFIERS.items()}
    words = words.str.replace_many(givers)
    return found.select(words.alias("key"), _VALUE.str.extract(rf"({_SCALAR})$").str.strip_chars('"'))


def _markup(texts: pl.LazyFrame) -> pl.LazyFrame:
    """The text of elements under their name, attributes under both names, numbers under who gave them."""
    name = _VALUE.str.extract(r"^<([\w:.-]+)")
    elements = _exploded(texts.select(_VALUE.str.extract_all(_ELEMENT))).select(
        name.alias("key"), _VALUE.str.extract(r">([^<>]*)</$")
    )
    tags = _exploded(texts.select(_VALUE.str.extract_all(_TAG)))
    attributes = tags.select(name.alias("tag"), _VALUE.str.extract_all(_ATTRIBUTE)).explode(
        "value", empty_as_null=False, keep_nulls=False
    )
    attribute = _VALUE.str.extract(r"^([\w:.-]+)")
    giver = _VALUE.str.extract(_ROOT).replace_strict(OBJECT_IDENTIFIERS, default=None, return_dtype=pl.String)
    numbers = tags.select(giver.alias("key"), _VALUE.str.extract(_EXTENSION)).drop_nulls()
    return pl.concat(
        [
            elements,
            numbers,
            attributes.select(
                pl.concat_str("tag", attribute, separator=" ").alias("key"),
                _VALUE.str.extract(r"=\s*(.*)$").str.strip_chars("\"'"),
            ),
        ]
    )


def _assigned(texts: pl.LazyFrame) -> pl.LazyFrame:
    """`key=value`, as in log lines, query strings and settings."""
    found = _exploded(texts.select(_VALUE.str.extract_all(_ASSIGNED)))
    return found.select(
        _VALUE.str.extract(rf"({_WORD})=").alias("key"),
        _VALUE.str.extract(r"=(.*)$").str.strip_chars("\"'"),
    )


def _labelled(texts: pl.LazyFrame) -> pl.LazyFrame:
    """`Label: value`, a line each."""
    found = _exploded(texts.select(_VALUE.str.extract_all(_LABEL)))
    return found.select(
        _VALUE.str.extract(r"^\s*(.*?)\s*:\s").alias("key"),
        _VALUE.str.extract(r":[ \t]+(.*)$").str.strip_chars(),
    )


def _exploded(found: pl.LazyFrame) -> pl.LazyFrame:
    return found.explode("value", empty_as_null=False, keep_nulls=False)


FORMS: Final = (
    Form(rf"{_FLAT}|{_STRING}\s*:\s*[\[{{\"0-9-]", _json),
    Form(rf"{_HOLDS}\s*:", _typed),
    Form(r"<[A-Za-z/!?]", _markup),
    Form(_ASSIGNED, _assigned),
    Form(_LABEL, _labelled),
    Form(LAYOUT, placed),
)
