"""What a document holds outside its tables' rows is searched as text: nothing is left out for its form."""

from dataclasses import dataclass, field
from typing import Self

from secure_platform.source.csv import Malformed


@dataclass(frozen=True)
class Stray:
    """Text that is no row of the table.

    Attributes:
        line: On which it begins.
    """

    line: int
    text: str = field(repr=False)

    @classmethod
    def of(cls, record: Malformed) -> Self:
        """A record that was set aside."""
        return cls(record.line, record.record.decode(errors="replace"))
