"""Unusual use of the products is found in the audit log, which is read once, as far as it has grown.

What was learned is kept in the control database, with the place in the log up to which it was learned. It is
a function of the log. If an older state is put back, the log is read again from there. If the state was
edited, belongs to another log or is missing, it is not trusted, and everything is learned again with the same
result. The log records when watching began; what is more than a week older is judged, but never reported.
"""

import json
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import delete, insert, select

from secure_platform import canonical
from secure_platform.access.allowance import Limits
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import habit as habit_table
from secure_platform.keys.ring import KeyRing
from secure_platform.monitor.deeds import deeds
from secure_platform.monitor.habit import Habit, renamed
from secure_platform.monitor.habits import Habits, Unusual
from secure_platform.monitor.incident import MONITOR

AT_ONCE: Final = 20_000
"""Entries that one look reads at most; the next one goes on."""
SECONDS: Final = 20.0
"""After so long a look keeps what it has: the sensor may take a minute."""
TOLD: Final = timedelta(days=7)
"""What is told of the time before watching began."""
BEGUN: Final = "access.watch_begun"
"""In the log: something was kept from then on."""
CHANGED: Final = "access.habits_changed"
_NAME: Final = "access"
_PURPOSE: Final = "access-habits"


@dataclass(frozen=True)
class Looked:
    """What one look at the log found.

    Attributes:
        found: What is to be told.
        cursor: Entries that were read by now.
        behind: Entries that wait for the next look.
        state: To be kept once what was found is told.
    """

    found: tuple[Unusual, ...]
    cursor: int
    behind: int
    state: Mapping[str, Any]


class AccessWatch:
    """Learns from the audit log who usually does what.

    Args:
        database: Keeps what was learned.
        audit: Is learned from.
        keys: Authenticate what is kept, and know how people are called in the log.
        limits: How much may be revealed in an hour.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        database: ControlDatabase,
        audit: AuditLog,
        keys: KeyRing,
        limits: Limits,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._audit = audit
        self._keys = keys
        self._limits = limits
        self._clock = clock

    def look(
        self,
        people: Iterable[str],
        zones: Mapping[str, ZoneInfo],
        right: Callable[[str], Collection[str]],
    ) -> Looked:
        """Read what is new in the log; nothing is kept before `keep` is called.

        Args:
            people: Names of all principals.
            zones: Product → whose clock counts.
            right: Product → points that a person called a false alarm.
        """
        kept = self._kept()
        cursor, habits = kept["cursor"], self._habits(kept, people, zones, cache(right))
        size = self._audit.size()
        begun = datetime.fromisoformat(kept["begun"]) if kept["begun"] else self._clock()
        found: dict[str, Unusual] = {}
        leaf, until = b"", time.monotonic() + SECONDS
        for entry in islice(self._audit.entries(cursor, size), AT_ONCE):
            cursor, leaf = entry.seq + 1, entry.leaf
            for deed in deeds(entry):
                unusual = list(habits.take(deed))
                if deed.at >= begun - TOLD:
                    found.update({f"{each.product} {each.point}": each for each in unusual})
            if time.monotonic() > until:
                break
        state = {**kept, "cursor": cursor, "leaf": leaf.hex(), "known": _plain(habits.known)}
        return Looked(tuple(found.values()), cursor, size - cursor, state if leaf else {})

    def keep(self, looked: Looked) -> None:
        """Keep what was learned; whoever is killed before finds the same again."""
        if not looked.state:
            return
        self._write(looked.state)
        if looked.state["begun"] is None:
            self._audit.append(BEGUN, actor=MONITOR, subject=_NAME)

    def _write(self, state: Mapping[str, Any]) -> None:
        body = zlib.compress(canonical.dumps(state))
        row = {"name": _NAME, "state": body, "seal": self._keys.mac(_PURPOSE, body)}
        with self._database.write() as connection:
            connection.execute(delete(habit_table))
            connection.execute(insert(habit_table).values(**row))

    def habits(self, people: Iterable[str], zones: Mapping[str, ZoneInfo]) -> Habits:
        """What is known by now."""
        return self._habits(self._kept(), people, zones, lambda _: ())

    def _habits(
        self,
        state: Mapping[str, Any],
        people: Iterable[str],
        zones: Mapping[str, ZoneInfo],
        right: Callable[[str], Collection[str]],
    ) -> Habits:
        known = {
            product: {who: Habit.of(each) for who, each in habits.items()}
            for product, habits in state["known"].items()
        }
        names = {
            former: newest
            for name in people
            for newest, *older in [self._keys.identifiers(name)]
            for former in older
        }
        return Habits(renamed(known, names), zones=zones, limits=self._limits, right=right)

    def _kept(self) -> dict[str, Any]:
        """What was learned; nothing if nothing was, or it is not to be believed."""
        with self._database.read() as connection:
            row = connection.execute(select(habit_table)).first()
        if row is not None and self._keys.verify_mac(_PURPOSE, row.state, row.seal):
            state: dict[str, Any] = json.loads(zlib.decompress(row.state))
            if self._is_of_this_log(state):
                return {**state, "begun": state["begun"] or self._begun()}
        begun = self._begun()
        nothing: dict[str, Any] = {"cursor": 0, "leaf": "", "known": {}, "begun": begun}
        if row is not None or begun is not None:
            self._audit.append(CHANGED, actor=MONITOR, subject=_NAME)
            self._write(nothing)
        return nothing

    def _is_of_this_log(self, state: Mapping[str, Any]) -> bool:
        cursor: int = state["cursor"]
        last = list(self._audit.entries(cursor - 1, cursor)) if cursor else []
        return not cursor or (bool(last) and last[0].leaf.hex() == state["leaf"])

    def _begun(self) -> str | None:
        """When something was first kept, as the log says; it is asked until what is kept says so too."""
        times = [
            entry.body["time"] for entry in self._audit.backwards(BEGUN) if entry.body["action"] == BEGUN
        ]
        return times[-1] if times else None


def _plain(known: Mapping[str, Mapping[str, Habit]]) -> dict[str, Any]:
    return {
        product: {who: habit.to_json() for who, habit in people.items()} for product, people in known.items()
    }
