"""The date and time formats that a contract may name in addition to the platform's own.

They are named as the standard does, in the letters of the JDK's DateTimeFormatter. A value must be written
exactly so: `03/04/2021` does not match `M/d/yyyy`. A time without an offset is UTC, which the standard names
as the default.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_DAYS: Final[Mapping[str, str]] = {
    "yyyyMMdd": "%Y%m%d",
    "yyyy/MM/dd": "%Y/%m/%d",
    "yyyy.MM.dd": "%Y.%m.%d",
    "MM/dd/yyyy": "%m/%d/%Y",
    "M/d/yyyy": "%-m/%-d/%Y",
    "dd/MM/yyyy": "%d/%m/%Y",
    "d/M/yyyy": "%-d/%-m/%Y",
    "dd.MM.yyyy": "%d.%m.%Y",
    "d.M.yyyy": "%-d.%-m.%Y",
    "dd-MM-yyyy": "%d-%m-%Y",
    "MM-dd-yyyy": "%m-%d-%Y",
    "dd-MMM-yyyy": "%d-%b-%Y",
}
_TIMES: Final[Mapping[str, str]] = {
    "HH:mm:ss": "%H:%M:%S",
    "HH:mm": "%H:%M",
    "H:mm": "%-H:%M",
    "HH:mm:ss.SSS": "%H:%M:%S%.3f",
    "HH:mm:ss.SSSSSS": "%H:%M:%S%.6f",
    "hh:mm:ss a": "%I:%M:%S %p",
    "hh:mm a": "%I:%M %p",
    "HH:mm:ssxxx": "%H:%M:%S+00:00",
    "HH:mm:ss.SSSxxx": "%H:%M:%S%.3f+00:00",
    "HH:mm:ss.SSSSSSxxx": "%H:%M:%S%.6f+00:00",
    "HH:mm:ssx": "%H:%M:%S+00",
    "HH:mm:ss.SSSSSSx": "%H:%M:%S%.6f+00",
    "HH:mm:ss 'UTC'": "%H:%M:%S UTC",
}
_ISO_DAY: Final = {"yyyy-MM-dd": "%Y-%m-%d"}

FORMATS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "date": MappingProxyType(_DAYS),
        "timestamp": MappingProxyType(
            {
                f"{day}{said}{time}": f"{day_letters}{between}{time_letters}"
                for day, day_letters in {**_ISO_DAY, **_DAYS}.items()
                for said, between in (("'T'", "T"), (" ", " "))
                for time, time_letters in _TIMES.items()
            }
        ),
    }
)
"""Logical type → the format as the standard writes it → the same in the letters of strftime."""
