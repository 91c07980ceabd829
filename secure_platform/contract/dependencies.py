"""Columns that determine others: the custom property `dependencies` of a contract.

```yaml
- property: dependencies
  value:
    - {columns: [zip], determine: [city, state]}
    - {columns: [state, measure_code], determine: [state_average]}
```

Rows that have the same values in all of `columns` have the same value in each column that these determine.
An empty cell is no value: it equals nothing, and contradicts nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from secure_platform.contract.model import Column, Dependency
from secure_platform.contract.place import Place, suggestion

_NAMES: Final = ("columns", "determine")
MOST: Final = 400
"""Pairs of determining and determined columns of one contract: each is looked at with every pull."""


def read_dependencies(body: Sequence[Any], columns: Sequence[Column], place: Place) -> tuple[Dependency, ...]:
    """Read the property.

    Raises:
        ContractError: If anything in it is not understood.
    """
    found = tuple(_dependency(each, columns, place) for each in body)
    pairs = [(frozenset(each.columns), name) for each in found for name in each.determined]
    if len(set(pairs)) != len(pairs):
        raise place.refusal("says twice what determines a column", "Keep one of the two.")
    if len(pairs) > MOST:
        raise place.refusal(f"has more than {MOST} dependencies", "Keep those that matter.")
    return found


def _dependency(body: Any, columns: Sequence[Column], place: Place) -> Dependency:
    if not isinstance(body, Mapping) or body.keys() != {*_NAMES}:
        raise place.refusal(
            "has a dependency that is not understood", "Write {columns: [zip], determine: [city, state]}."
        )
    known = [column.name for column in columns]
    by, determined = (_listed(body[name], known, place.at(f"dependencies {name}")) for name in _NAMES)
    if set(by) & set(determined):
        raise place.refusal("has a column that determines itself", "Name it on one side.")
    return Dependency(by, determined)


def _listed(names: Any, known: Sequence[str], place: Place) -> tuple[str, ...]:
    texts = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    if not texts or len(set(names)) != len(names):
        raise place.refusal("is no list of columns", "List columns of the contract, each once.")
    for name in names:
        if name not in known:
            raise place.refusal("names an unknown column", suggestion(name, known))
    return tuple(names)
