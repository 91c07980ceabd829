"""A column of a contract is refused unless all that it promises is understood and will be kept.

Every column has a classification, not lower than its info type's. Rules that the platform would not carry
out, and properties it does not know, are errors: a reader of the contract would rely on them.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast, get_args

import polars as pl

from secure_platform.contract.formats import FORMATS
from secure_platform.contract.honoured import only, read_custom
from secure_platform.contract.model import Column, LogicalType, Reference
from secure_platform.contract.names import COLUMN, IDENTIFIER
from secure_platform.contract.place import Place, shown, suggestion
from secure_platform.contract.protection import read_protect, read_waiver
from secure_platform.contract.rules import BOUND_SHAPES, bound_value, whole
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import info_types

_REFERENCE: Final = re.compile(r"([a-z][a-z0-9_]{0,62})\.([A-Za-z_][A-Za-z0-9_\-]{0,62})")
_TYPES: Final[tuple[str, ...]] = get_args(LogicalType)
_RULES: Final = frozenset(
    {
        *("name", "logicalType", "logicalTypeOptions", "classification", "required", "unique", "primaryKey"),
        *("relationships", "quality", "customProperties"),
    }
)
_REMARKS: Final = frozenset(
    {
        *("id", "description", "businessName", "physicalType", "primaryKeyPosition", "criticalDataElement"),
        *("tags", "examples", "deprecated", "synonyms", "authoritativeDefinitions"),
    }
)
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "integer": frozenset({"minimum", "maximum"}),
    "number": frozenset({"minimum", "maximum"}),
    "date": frozenset({"minimum", "maximum", "format"}),
    "timestamp": frozenset({"minimum", "maximum", "format"}),
    "boolean": frozenset(),
}
_CUSTOM: Final[Mapping[str, tuple[type, ...]]] = {
    "infoType": (str,),
    "protect": (str, dict),
    "protected": (bool,),
    "waiver": (dict,),
    "tokenDomain": (str,),
    "quasiIdentifier": (bool,),
    "subjectId": (bool,),
}
_QUALITY_REMARKS: Final = frozenset(
    {"id", "name", "type", "description", "dimension", "businessImpact", "tags", "authoritativeDefinitions"}
)


def read_column(body: Mapping[str, Any], place: Place) -> Column:
    """Read one property of the standard's schema object; the document passed the JSON schema.

    Raises:
        ContractError: If anything in it is not understood, or contradicts itself.
    """
    name = body["name"]
    if not COLUMN.fullmatch(name):
        raise place.refusal(
            f"the column name {shown(name)} is not usable",
            "Use at most 63 ASCII letters, digits, spaces, _ and -, beginning with a letter, not with __.",
        )
    place = place.at(f"column {name}")
    only(body, _RULES | _REMARKS, place)
    classification = _classification(body, place)
    custom = read_custom(body.get("customProperties", ()), _CUSTOM, place)
    column = Column(
        name=name,
        logical_type=_logical_type(body, place),
        description=body.get("description", ""),
        classification=classification,
        info_type=_info_type(custom.get("infoType"), classification, place),
        protect=read_protect(custom.get("protect"), place),
        token_domain=_token_domain(custom.get("tokenDomain"), place),
        protected=custom.get("protected", False),
        waiver=read_waiver(custom.get("waiver"), place),
        quasi_identifier=custom.get("quasiIdentifier", False),
        subject_id=custom.get("subjectId", False),
        required=body.get("required", False) or body.get("primaryKey", False),
        unique=body.get("unique", False),
        primary_key=body.get("primaryKey", False),
        reference=_reference(body.get("relationships", ()), place),
        **_options(body, place),
        enum=_enum(body, place),
    )
    _consistent(column, body, place)
    return column


def _classification(body: Mapping[str, Any], place: Place) -> Classification:
    labels = [member.label for member in Classification]
    if "classification" not in body:
        raise place.refusal(
            "has no classification", f"Add `classification:` with one of: {', '.join(labels)}."
        )
    if body["classification"] not in labels:
        raise place.refusal("has an unknown classification", suggestion(body["classification"], labels))
    return Classification.parse(body["classification"])


def _logical_type(body: Mapping[str, Any], place: Place) -> LogicalType:
    if body.get("logicalType") not in _TYPES:
        raise place.refusal("has no supported logicalType", f"Write one of: {', '.join(_TYPES)}.")
    return cast("LogicalType", body["logicalType"])


def _info_type(name: str | None, classification: Classification, place: Place) -> str | None:
    if name is None:
        return None
    kind = info_types().get(name)
    if kind is None:
        raise place.refusal(
            f"the info type {shown(name)} is unknown",
            suggestion(name, info_types(), listed="docs/info-types.md"),
        )
    if classification < kind.classification:
        raise place.refusal(
            f"is {classification.label}, but {name} is at least {kind.classification.label}",
            f"Classify the column {kind.classification.label}, or correct its info type.",
        )
    return name


def _token_domain(value: str | None, place: Place) -> str | None:
    if value is not None and not IDENTIFIER.fullmatch(value):
        raise place.refusal("the token domain is not usable", "Use lower-case letters, digits and _.")
    return value


def _reference(relationships: Sequence[Mapping[str, Any]], place: Place) -> Reference | None:
    if not relationships:
        return None
    if len(relationships) > 1:
        raise place.refusal("has several relationships", "Keep the one key that the column points at.")
    only(relationships[0], frozenset({"id", "type", "to"}), place)
    target = relationships[0]["to"]
    match = _REFERENCE.fullmatch(target) if isinstance(target, str) else None
    if match is None:
        raise place.refusal("has a relationship that is not understood", "Write `to: dataset.column`.")
    return Reference(*match.groups())


def _options(body: Mapping[str, Any], place: Place) -> dict[str, Any]:
    options = body.get("logicalTypeOptions", {})
    only(options, _OPTIONS[body["logicalType"]], place)
    if "pattern" in options:
        _check_pattern(options["pattern"], place)
    known = FORMATS.get(body["logicalType"], {})
    if "format" in options and options["format"] not in known:
        raise place.refusal("has a format that is not read", suggestion(options["format"], known))
    return {
        "minimum": options.get("minimum"),
        "maximum": options.get("maximum"),
        "min_length": options.get("minLength"),
        "max_length": options.get("maxLength"),
        "pattern": options.get("pattern"),
        "format": options.get("format"),
    }


def _check_pattern(pattern: str, place: Place) -> None:
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise place.refusal(
            "has a pattern without both anchors",
            "Begin it with ^ and end it with $: the whole value must match.",
        )
    if not _compiles(pattern):
        raise place.refusal(
            "has a pattern that cannot be compiled",
            "Write it for the Rust regex engine: no look-around, no back-references, bounded repetition.",
        )


@lru_cache(maxsize=4096)
def _compiles(pattern: str) -> bool:
    """Both alone and inside the group that makes it match as a whole: `^a)|(.*$` is valid only there."""
    try:
        for regex in (pattern, whole(pattern)):
            pl.select(pl.lit("").str.contains(regex))
    except pl.exceptions.PolarsError:
        return False
    return True


def _enum(body: Mapping[str, Any], place: Place) -> tuple[str, ...] | None:
    rules = [rule for rule in body.get("quality", ()) if rule.get("type") != "text"]
    if not rules:
        return None
    rule = rules[0]
    if len(rules) > 1 or rule.get("metric") != "invalidValues" or body["logicalType"] != "string":
        raise place.refusal(
            "has a quality rule that is not carried out",
            "Keep one `metric: invalidValues` rule, on a string column.",
        )
    only(rule, _QUALITY_REMARKS | {"metric", "arguments", "mustBe"}, place)
    values = rule.get("arguments", {}).get("validValues")
    if (
        set(rule.get("arguments", {})) != {"validValues"}
        or rule.get("mustBe") != 0
        or rule.get("mustBe") is False
    ):
        raise place.refusal(
            "has an invalidValues rule that is not understood",
            "Write `arguments: {validValues: [...]}` and `mustBe: 0`.",
        )
    texts = isinstance(values, list) and values and all(isinstance(value, str) for value in values)
    if not texts or len(set(values)) != len(values):
        raise place.refusal(
            "has validValues that are not distinct texts", "Write each as text, in quotes, once."
        )
    return tuple(values)


def _consistent(column: Column, body: Mapping[str, Any], place: Place) -> None:
    if column.primary_key and body.get("required") is False:
        raise place.refusal("is a primary key that may be null", "Remove `required: false`.")
    if body.get("examples") and column.classification >= Classification.CONFIDENTIAL:
        raise place.refusal("gives examples of confidential values", "Remove `examples`.")
    for low, high in (
        (_bound(column, column.minimum, place), _bound(column, column.maximum, place)),
        (column.min_length, column.max_length),
    ):
        if low is not None and high is not None and low > high:
            raise place.refusal(
                "allows no value: its lower limit exceeds the upper", "Exchange the two limits."
            )


def _bound(column: Column, bound: float | str | None, place: Place) -> Any:
    if bound is None:
        return None
    shape = BOUND_SHAPES.get(column.logical_type)
    refusal = place.refusal(
        f"has a limit that is not a {column.logical_type}",
        "Write dates as 'YYYY-MM-DD' and timestamps as 'YYYY-MM-DDThh:mm:ssZ', in quotes.",
    )
    if shape and not shape.fullmatch(str(bound)):
        raise refusal
    try:
        return bound_value(column, bound)
    except ValueError:
        raise refusal from None
