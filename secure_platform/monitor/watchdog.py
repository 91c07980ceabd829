"""Silence is reported, too: the daemon gives a sign of life, and the server reports when none comes.

The server itself is watched from outside: a channel that lists `monitor.alive` among its events gets a sign
of life as long as daemon and server live, and should raise the alarm when it gets none.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, select, update

from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import heartbeat
from secure_platform.notify.outbox import Notices

DAEMON: Final = "daemon"
ALIVE_EVERY: Final = timedelta(minutes=5)


class Watchdog:
    """Signs of life, in the control database.

    Args:
        database: Holds the last one.
        notices: Tells of silence.
        patience: How long without a sign is silence.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        database: ControlDatabase,
        notices: Notices,
        patience: timedelta,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._notices = notices
        self._patience = patience
        self._clock = clock
        self._since = clock()
        self._alive_at: datetime | None = None

    def beat(self) -> None:
        """The daemon lives."""
        now = self._clock()
        with self._database.write() as connection:
            changed = connection.execute(update(heartbeat).where(heartbeat.c.name == DAEMON).values(at=now))
            if not changed.rowcount:
                connection.execute(insert(heartbeat).values(name=DAEMON, at=now))

    def last(self) -> datetime | None:
        """When the daemon last gave a sign of life."""
        with self._database.read() as connection:
            at = connection.scalar(select(heartbeat.c.at).where(heartbeat.c.name == DAEMON))
        return None if at is None else as_utc(at)

    def look(self) -> None:
        """Tell of a silence, once, or that all is alive; a daemon that has just been started has its time."""
        now, last = self._clock(), self.last()
        if now - max(self._since, last or self._since) > self._patience:
            self._notices.announce("monitor.silent", occasion=f"{last or self._since:%Y-%m-%dT%H:%M:%SZ}")
        elif last is not None and (self._alive_at is None or now - self._alive_at >= ALIVE_EVERY):
            self._alive_at = now
            self._notices.alive()
