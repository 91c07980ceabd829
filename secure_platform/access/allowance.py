"""How much of something one principal may do in an hour, counted in the audit log.

The audit records themselves are counted: nobody can lower a count that is in a Merkle tree, and if the log
cannot be read, nothing is done. A request is counted when it begins, before it is judged, so that sending
many at once gains nothing. A request that is refused for its amount does not count.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from secure_platform.audit.log import JSON, AuditLog
from secure_platform.audit.reader import Entry
from secure_platform.control.database import utc_now
from secure_platform.errors import AccessDeniedError

WINDOW: Final = timedelta(hours=1)
AMOUNT: Final = "amount"
OUT_OF_ORDER: Final = 100
"""So many older entries end the look: the clock may have been set back while one was made."""


class AllowanceSpentError(AccessDeniedError):
    """Somebody did so much of something that they have to wait."""


@dataclass(frozen=True)
class Limits:
    """How often in an hour, and how much in all of these times."""

    calls: int
    amount: int


class Allowance:
    """What is left to everybody of one action.

    Args:
        audit: Where it is recorded.
        action: What is done.
        limits: For each principal.
        identities: Every keyed hash that may stand for a name in the log.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        audit: AuditLog,
        action: str,
        limits: Limits,
        identities: Callable[[str], Collection[str]],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._audit = audit
        self._action = action
        self._limits = limits
        self._identities = identities
        self._clock = clock

    @contextmanager
    def spend(
        self, actor: str, amount: int, *, subject: str, detail: Mapping[str, JSON]
    ) -> Iterator[dict[str, JSON]]:
        """Record the intent and, after the block, its outcome, as `AuditLog.effect`.

        Raises:
            AllowanceSpentError: If it is more than they may in an hour; then the block never runs.
            IntegrityError: If the log cannot be read or written.
        """
        told = {**detail, AMOUNT: amount}
        with self._audit.effect(self._action, actor=actor, subject=subject, detail=told) as outcome:
            self._require(actor)
            yield outcome

    def _require(self, actor: str) -> None:
        """Refuse if the intents of the last hour, the present one among them, are too many."""
        refused: set[int] = set()
        calls = amount = 0
        for entry in self._recent(set(self._identities(actor))):
            if entry.body["phase"] == "intent" and entry.seq not in refused:
                calls += 1
                amount += entry.body["detail"][AMOUNT]
            elif entry.body["detail"].get("error") == AllowanceSpentError.__name__:
                refused.add(entry.body["intent"])
        if calls > self._limits.calls or amount > self._limits.amount:
            raise AllowanceSpentError(
                f"That would be {amount:,} values in {calls:,} calls within an hour,"
                f" and {self._limits.amount:,} in {self._limits.calls:,} are allowed",
                "Ask for less, or wait; an administrator can change the limits: docs/settings.md.",
            )

    def _recent(self, identities: Collection[str]) -> Iterator[Entry]:
        since, older = self._clock() - WINDOW, 0
        for entry in self._audit.backwards(f'"action":"{self._action}"'):
            body: Mapping[str, Any] = entry.body
            if body["action"] != self._action:
                continue
            if datetime.fromisoformat(body["time"]) < since:
                older += 1
                if older > OUT_OF_ORDER:
                    return
            elif body["actor"] in identities:
                yield entry
