"""How a dataset is watched: the custom property `monitor` of a contract; everything has a sane default.

```yaml
- property: monitor
  value:
    severity: error                     # warn: an anomaly is shown; error: it stops what comes after
    timezone: Europe/Berlin             # whose days and hours the seasons go by
    holidays: ["2026-12-25"]            # days that are not judged and teach nothing
    silent: [distinct_rate]             # metrics that are recorded and not judged
    metrics: {average_stay: "AVG(days)"}  # SQL over the protected columns that gives one number
    reconcile:                          # numbers that must agree, before and after protection
      all_days: {sql: "SUM(days)", tolerance: 0.001}
      billed: {sql: "SUM(cost)", dataset: batches, equals: "SUM(total)"}  # … or with a dataset it refers to
```

What may be asked of raw cells and of confidential columns, the plan decides (`protect/plain_totals.py`).
"""

from collections.abc import Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any, Final, get_args
from zoneinfo import ZoneInfo

import polars as pl

from secure_platform.contract.model import Column, Monitor, Severity, Total
from secure_platform.contract.names import IDENTIFIER
from secure_platform.contract.place import Place, shown, suggestion

METRICS: Final = frozenset(
    {
        *("rows", "null_rate", "distinct_rate", "duplicate_rate", "invalid_rate", "found_rate"),
        *("mean", "quantile", "share", "drift", "schema", "freshness", "custom"),
        *("repeated_rate", "hours", "newest"),
    }
)
"""What can be switched off; the names are those of the metrics history."""

_KEYS: Final = frozenset({"severity", "timezone", "holidays", "silent", "metrics", "reconcile"})
_TOTAL: Final[Mapping[str, tuple[type, ...]]] = {
    "sql": (str,),
    "dataset": (str,),
    "equals": (str,),
    "tolerance": (int, float),
}
_TYPES: Final[Mapping[str, type]] = {"holidays": list, "silent": list, "metrics": dict, "reconcile": dict}


def read_monitor(body: Mapping[str, Any], columns: Sequence[Column], place: Place) -> Monitor:
    """Read the property.

    Raises:
        ContractError: If a setting is unknown, or cannot be carried out.
    """
    for key, value in body.items():
        if key not in _KEYS:
            raise place.refusal(f"has the unknown setting {shown(str(key))}", suggestion(str(key), _KEYS))
        if not isinstance(value, _TYPES.get(key, str)):
            raise place.at(key).refusal("has the wrong type", "Look at docs/monitoring.md.")
    return Monitor(
        severity=_severity(body.get("severity", "warn"), place),
        timezone=_timezone(body.get("timezone", "UTC"), place),
        holidays=tuple(_day(day, place) for day in body.get("holidays", ())),
        silent=tuple(_metric(name, place) for name in body.get("silent", ())),
        metrics=MappingProxyType(
            {
                str(name): _own(str(name), sql, columns, place.at("metrics"))
                for name, sql in body.get("metrics", {}).items()
            }
        ),
        reconcile=MappingProxyType(
            {
                str(name): _total(str(name), total, columns, place)
                for name, total in body.get("reconcile", {}).items()
            }
        ),
    )


def _severity(word: str, place: Place) -> Severity:
    for known in get_args(Severity):
        if word == known:
            return known  # type: ignore[no-any-return]
    raise place.at("severity").refusal("has an unknown word", suggestion(word, get_args(Severity)))


def _timezone(name: str, place: Place) -> str:
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise place.at("timezone").refusal(
            f"names the unknown time zone {shown(name)}", "Write a name such as Europe/Berlin."
        ) from None


def _day(value: Any, place: Place) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise place.at("holidays").refusal("names no day", "Write days as 2026-12-25.") from None


def _metric(name: Any, place: Place) -> str:
    if name not in METRICS:
        raise place.at("silent").refusal(
            f"names the unknown metric {shown(str(name))}", suggestion(str(name), METRICS)
        )
    return str(name)


def _total(name: str, body: Any, columns: Sequence[Column], place: Place) -> Total:
    """What `equals` asks of another dataset is read with its rows: its contract is not known here."""
    place = place.at("reconcile")
    if not isinstance(body, Mapping):
        raise place.refusal(f"has the total {shown(name)}, which is no object", "Write {sql: SUM(amount)}.")
    for key, value in body.items():
        if key not in _TOTAL:
            raise place.refusal(f"has the unknown setting {shown(str(key))}", suggestion(str(key), _TOTAL))
        if not isinstance(value, _TOTAL[key]) or isinstance(value, bool):
            raise place.at(key).refusal("has the wrong type", "Look at docs/monitoring.md.")
    if ("dataset" in body) != ("equals" in body):
        raise place.refusal(
            f"has the total {shown(name)} with a dataset or an `equals` alone", "Write both, or neither."
        )
    tolerance = float(body.get("tolerance", 0))
    if not 0 <= tolerance < 1:
        raise place.at("tolerance").refusal("is no share", "Write a number from 0 to below 1.")
    sql = _own(name, body.get("sql"), columns, place)
    return Total(sql, body.get("dataset", ""), body.get("equals", ""), tolerance)


def _own(name: str, sql: Any, columns: Sequence[Column], place: Place) -> str:
    """An expression that gives one number over the columns of the contract."""
    if not IDENTIFIER.fullmatch(name):
        raise place.refusal(f"has the unusable name {shown(name)}", "Use lower-case letters, digits and _.")
    if not isinstance(sql, str):
        raise place.refusal(f"has the metric {name}, which is no text", "Write SQL, such as AVG(age).")
    nothing = pl.DataFrame(schema={column.name: column.dtype for column in columns})
    try:
        result = nothing.select(pl.sql_expr(sql).alias(name))
    except (pl.exceptions.PolarsError, pl.exceptions.SQLSyntaxError, pl.exceptions.SQLInterfaceError):
        raise place.refusal(
            f"has the metric {name}, which cannot be computed", "Write SQL over the contract's columns."
        ) from None
    numeric = result.dtypes[0].is_numeric() or result.dtypes[0] == pl.Boolean
    if result.height != 1 or not numeric:
        raise place.refusal(
            f"has the metric {name}, which is not one number", "Aggregate: SUM(…), AVG(…), COUNT(…)."
        )
    return sql
