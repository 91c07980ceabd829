"""Four classifications, ordered: what may be seen by whom grows stricter with the number."""

from enum import IntEnum
from typing import Self

from secure_platform.errors import ContractError


class Classification(IntEnum):
    """`public` < `internal` < `confidential` < `restricted`; comparable, and a Cedar `Long` by its value."""

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2
    RESTRICTED = 3

    @property
    def label(self) -> str:
        """The name as contracts write it, for example `restricted`."""
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the name as contracts write it.

        Raises:
            ContractError: If `text` is none of the four names; the text itself is not repeated.
        """
        for member in cls:
            if member.label == text:
                return member
        raise ContractError(
            "A classification is not one of public, internal, confidential, restricted",
            "Write one of the four names in lower case.",
        )
