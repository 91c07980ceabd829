"""The members of one TOML table, each taken out with its type checked; one that is not known is refused."""

from collections.abc import Mapping
from typing import Any, Final

from secure_platform.errors import UsageError

_UNSUPPORTED: Final = {
    "commits": "The history of a repository is not scanned: remove it.",
    "required": "A rule that needs another rule nearby is not supported: remove the rule.",
    "skipReport": "A rule that reports nothing is not supported: disable the rule.",
    "url": "Rules are not fetched: save the file and extend its path.",
}


class Members:
    """Reads one table.

    Args:
        culprit: The table's name in errors.
        body: The table.
        allowed: The members that it may have.
        known: Whether to refuse others now.
    """

    def __init__(
        self, culprit: str, body: Mapping[str, Any], allowed: frozenset[str], *, known: bool = True
    ) -> None:
        self.culprit = culprit
        self._body = body
        unknown = body.keys() - allowed
        if known and unknown:
            member = min(unknown)
            fix = _UNSUPPORTED.get(member, "Remove it or correct its spelling.")
            raise UsageError(f"{culprit}: {member[:40]!r} is not supported", fix)

    def require(self, condition: bool, key: str) -> None:  # noqa: FBT001 - a guard, read as a sentence
        """Refuse the table where the condition does not hold.

        Raises:
            UsageError: Naming the table and the member.
        """
        if not condition:
            raise UsageError(f"{self.culprit}: {key} is not acceptable", "See the gitleaks rule format.")

    def raw(self, key: str) -> Any:
        """The member as it is, or nothing."""
        return self._body.get(key)

    def text(self, key: str) -> str:
        """A text, empty when not stated."""
        value = self._body.get(key, "")
        self.require(isinstance(value, str), key)
        return str(value)

    def required(self, key: str) -> str:
        """A text that is not empty."""
        value = self.text(key)
        self.require(bool(value), key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, none empty."""
        value = self._body.get(key, [])
        self.require(isinstance(value, list) and all(isinstance(item, str) and item for item in value), key)
        return tuple(value)

    def flag(self, key: str) -> bool:
        """True or false; false when not stated."""
        value = self._body.get(key, False)
        self.require(isinstance(value, bool), key)
        return bool(value)

    def whole(self, key: str) -> int:
        """A whole number, 0 when not stated."""
        value = self._body.get(key, 0)
        self.require(type(value) is int, key)
        return int(value)

    def number(self, key: str) -> float:
        """A number, 0 when not stated."""
        value = self._body.get(key, 0)
        self.require(type(value) in {int, float}, key)
        return float(value)

    def table(self, key: str, allowed: frozenset[str]) -> "Members":
        """A table, empty when not stated."""
        value = self._body.get(key, {})
        self.require(isinstance(value, dict), key)
        return Members(f"{self.culprit}, {key}", value, allowed)

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        """A list of tables, empty when not stated."""
        value = self._body.get(key, [])
        self.require(isinstance(value, list) and all(isinstance(item, dict) for item in value), key)
        return list(value)
