"""A condition is data, never a query: a column, one comparison, and what the value is compared with.

Of several conditions all have to hold. A null meets no condition but `is_null`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from secure_platform.contract.model import Scalar

COMPARISONS: Final = ("equals", "one_of", "none_of", "below", "at_least", "is_null")
_LISTS: Final = frozenset({"one_of", "none_of"})
_MOST: Final = 1000


@dataclass(frozen=True)
class Condition:
    """One comparison with the value of a column.

    Attributes:
        values: One; for `one_of` and `none_of`, several.
    """

    column: str
    comparison: str
    values: tuple[Scalar, ...]


def read_conditions(body: Any) -> tuple[Condition, ...]:
    """Read one condition, or a list of them.

    Raises:
        ValueError: If anything in it is not understood.
    """
    given = body if isinstance(body, list) else [body]
    if not given or not all(isinstance(each, Mapping) for each in given):
        raise ValueError
    return tuple(_condition(each) for each in given)


def _condition(body: Mapping[str, Any]) -> Condition:
    comparisons = body.keys() & set(COMPARISONS)
    if (
        len(comparisons) != 1
        or body.keys() != {"column", *comparisons}
        or not isinstance(body["column"], str)
    ):
        raise ValueError
    (comparison,) = comparisons
    value = body[comparison]
    if isinstance(value, list) != (comparison in _LISTS):
        raise ValueError
    values = tuple(value) if isinstance(value, list) else (value,)
    if not 0 < len(values) <= _MOST or not all(isinstance(each, Scalar) for each in values):
        raise ValueError
    if comparison == "is_null" and not isinstance(value, bool):
        raise ValueError
    return Condition(body["column"], comparison, values)
