"""A notice is stored before it is sent, and is sent until it has arrived: at least once.

The process that causes a notice queues it in the control database, once per channel, event and subject; a
server or `notify deliver` sends it. Taking a notice postpones it, so that no two senders have it at the same
time, and one whose sender dies is sent again. Sending never stops what it reports.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import notice as notice_table
from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.notify.channels import send, wants
from secure_platform.notify.notice import Alert, Notice, page_of
from secure_platform.notify.queued import Alerted, Queued
from secure_platform.site import ChannelSettings, Event

ALIVE: Final = "monitor.alive"
NOTIFIER: Final = "service:notifier"
ATTEMPTS: Final = 12
FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=6)
_PROBLEM_CHARACTERS: Final = 255
_FACTS: Final = ("product", "release", "number", "ticket", "environment")
_logger = logging.getLogger(__name__)
_columns = notice_table.c


class Notices:
    """The outgoing notices of one home.

    Args:
        database: Holds them.
        audit: Where it is recorded who was told, and who could not be.
        channels: Where they go.
        secrets: Where their secrets are.
        environment: What they say they are about.
        url: Of the server, for links.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        database: ControlDatabase,
        audit: AuditLog,
        channels: Sequence[ChannelSettings],
        *,
        secrets: Secrets,
        environment: str,
        url: str | None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._audit = audit
        self._channels = {channel.name: channel for channel in channels}
        self._secrets = secrets
        self._environment = environment
        self._url = url
        self._clock = clock

    def announce(
        self,
        event: Event,
        *,
        product: str | None = None,
        release: str | None = None,
        number: int | None = None,
        ticket: str | None = None,
        occasion: str = "",
    ) -> None:
        """Queue a notice for every channel that wants it; call it after what it tells has happened.

        It never raises: what has happened stays so, whether or not somebody can be told.

        Args:
            event: What happened.
            product: To which data product; None for all.
            release: Digest of the release.
            number: Number of the release.
            ticket: The change ticket that was named.
            occasion: Tells this from the same event on the same subject before, such as a grant's id.
        """
        told = [channel for channel in self._channels.values() if wants(channel, event, product)]
        if not told:
            return
        facts = {
            "product": product,
            "release": release,
            "number": number,
            "ticket": ticket,
            "environment": self._environment,
        }
        subject = "/".join(filter(None, [release or product or "platform", occasion]))
        try:
            self._queue(event, subject, facts, told)
        except SQLAlchemyError as error:
            _logger.error("A notice of %s could not be queued: %s", event, type(error).__name__)  # noqa: TRY400

    def alert(
        self, event: Event, alert: Alert, *, product: str, release: str | None, occasion: str, channel: str
    ) -> None:
        """Queue a notice of an incident for a channel; once for each occasion of the incident.

        Args:
            event: What happened to it.
            alert: What it is about.
            product: The data product.
            release: Digest of the release in production, if it is about that.
            occasion: Tells this from what was told of the incident before.
            channel: Who is told.
        """
        facts = {
            "product": product,
            "release": release,
            "environment": self._environment,
            "alert": alert.to_json(),
        }
        self._queue(event, f"{alert.incident}/{occasion}", facts, [self._channels[channel]])

    def alerted(self, since: datetime) -> list[Alerted]:
        """What was told of incidents since then, oldest first."""
        query = select(_columns.channel, _columns.event, _columns.subject, _columns.created_at, _columns.body)
        with self._database.read() as connection:
            rows = connection.execute(
                query.where(_columns.event.like("incident.%"), _columns.created_at >= since).order_by(
                    _columns.created_at
                )
            ).all()
        return [
            Alerted(
                row.channel,
                row.event,
                row.subject,
                as_utc(row.created_at),
                row.body["product"],
                Alert.of(row.body["alert"]),
            )
            for row in rows
        ]

    def deliver(self) -> list[Queued]:
        """Send what is due; a channel that fails is left alone until the next call.

        Returns:
            What was attempted, as it is now.
        """
        return [attempt for name in self._waiting() for attempt in self._deliver_to(name)]

    def counts(self) -> dict[str, int]:
        """How many notices wait, were delivered and were given up."""
        states = {
            "waiting": and_(_columns.delivered_at.is_(None), _columns.given_up_at.is_(None)),
            "delivered": _columns.delivered_at.is_not(None),
            "given_up": _columns.given_up_at.is_not(None),
        }
        with self._database.read() as connection:
            return {
                state: connection.scalar(select(func.count()).select_from(notice_table).where(where)) or 0
                for state, where in states.items()
            }

    def delays(self) -> dict[str, tuple[int, float]]:
        """Channel → how many notices it took, and how long they had been queued together, in seconds."""
        query = select(_columns.channel, _columns.created_at, _columns.delivered_at)
        found: dict[str, tuple[int, float]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query.where(_columns.delivered_at.is_not(None))):
                count, seconds = found.get(row.channel, (0, 0.0))
                waited = as_utc(row.delivered_at) - as_utc(row.created_at)
                found[row.channel] = (count + 1, seconds + waited.total_seconds())
        return found

    def list(self, limit: int = 100) -> list[Queued]:
        """The newest notices, newest first."""
        query = select(notice_table).order_by(_columns.created_at.desc(), _columns.channel).limit(limit)
        with self._database.read() as connection:
            return [self._queued(row._asdict()) for row in connection.execute(query)]

    def test(self, channel: str) -> None:
        """Send a made-up notice to a channel now.

        Raises:
            UsageError: If there is no such channel, or its settings cannot be used.
            UndeliveredError: If it did not take it.
        """
        if channel not in self._channels:
            known = ", ".join(self._channels) or "none"
            raise UsageError(f"There is no channel {channel[:64]!r}", f"The settings have: {known}.")
        notice = self._notice(secrets.token_hex(16), "release.pending", self._clock(), {"product": "a test"})
        send(self._channels[channel], notice, self._secrets)

    def alive(self) -> None:
        """Send a sign of life to the channels that name it; one that is lost is not sent again."""
        for channel in self._channels.values():
            if ALIVE not in channel.events:
                continue
            try:
                send(channel, self._notice(secrets.token_hex(16), ALIVE, self._clock(), {}), self._secrets)
            except SecurePlatformError as error:
                _logger.warning("No sign of life to %s: %s", channel.name, error.culprit)

    def _queue(
        self, event: Event, subject: str, facts: dict[str, Any], told: Sequence[ChannelSettings]
    ) -> None:
        now, same = self._clock(), (_columns.event == event, _columns.subject == subject)
        with self._database.write() as connection:
            there: set[str] = set(connection.execute(select(_columns.channel).where(*same)).scalars())
            rows = [
                {
                    "notice_id": secrets.token_hex(16),
                    "channel": channel.name,
                    "event": event,
                    "subject": subject,
                    "body": facts,
                    "created_at": now,
                    "due_at": now,
                    "attempts": 0,
                }
                for channel in told
                if channel.name not in there
            ]
            if rows:
                connection.execute(insert(notice_table), rows)

    def _deliver_to(self, channel: str) -> Iterator[Queued]:
        while (taken := self._take(channel)) is not None:
            problem = self._attempt(taken)
            yield self._settle(taken, problem)
            if problem is not None:
                return

    def _attempt(self, taken: Queued) -> str | None:
        """Send it; why it did not arrive, None if it did."""
        if taken.channel not in self._channels:
            return "The settings have no such channel any more"
        try:
            send(self._channels[taken.channel], taken.notice, self._secrets)
        except SecurePlatformError as error:
            return error.culprit[:_PROBLEM_CHARACTERS]
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the others are still told
            return f"It failed with {type(error).__name__}"
        return None

    def _waiting(self) -> Sequence[str]:
        with self._database.read() as connection:
            query = select(_columns.channel).where(self._due()).distinct().order_by(_columns.channel)
            return connection.execute(query).scalars().all()

    def _take(self, channel: str) -> Queued | None:
        """The oldest that is due, postponed as if it had failed already."""
        where = and_(self._due(), _columns.channel == channel)
        query = select(notice_table).where(where).order_by(_columns.created_at).limit(1)
        with self._database.write() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            attempts = row.attempts + 1
            due_at = self._clock() + min(FIRST_PAUSE * 2 ** (attempts - 1), LONGEST_PAUSE)
            self._update(connection, row.notice_id, attempts=attempts, due_at=due_at)
            return self._queued({**row._asdict(), "attempts": attempts, "due_at": due_at})

    def _settle(self, taken: Queued, problem: str | None) -> Queued:
        now = self._clock()
        given_up = problem is not None and taken.attempts >= ATTEMPTS
        delivered_at, given_up_at = now if problem is None else None, now if given_up else None
        with self._database.write() as connection:
            self._update(
                connection,
                taken.notice.notice_id,
                delivered_at=delivered_at,
                given_up_at=given_up_at,
                problem=problem,
            )
        if problem is None or given_up:
            self._audit.append(
                "notice.give_up" if given_up else "notice.deliver",
                actor=NOTIFIER,
                subject=taken.notice.subject,
                detail={
                    "channel": taken.channel,
                    "event": taken.notice.event,
                    "notice": taken.notice.notice_id,
                },
            )
        return replace(taken, delivered_at=delivered_at, given_up_at=given_up_at, problem=problem)

    def _due(self) -> ColumnElement[bool]:
        return and_(
            _columns.delivered_at.is_(None), _columns.given_up_at.is_(None), _columns.due_at <= self._clock()
        )

    def _update(self, connection: Any, notice_id: str, **values: Any) -> None:
        connection.execute(update(notice_table).where(_columns.notice_id == notice_id).values(**values))

    def _queued(self, row: dict[str, Any]) -> Queued:
        notice = self._notice(row["notice_id"], row["event"], as_utc(row["created_at"]), row["body"])
        delivered_at, given_up_at = row["delivered_at"], row["given_up_at"]
        return Queued(
            notice,
            row["channel"],
            row["attempts"],
            as_utc(row["due_at"]),
            delivered_at and as_utc(delivered_at),
            given_up_at and as_utc(given_up_at),
            row["problem"],
        )

    def _notice(self, notice_id: str, event: Event, at: datetime, facts: dict[str, Any]) -> Notice:
        known = {name: facts.get(name) for name in _FACTS}
        alert = facts.get("alert")
        page = page_of(event, known["release"], alert["incident"] if alert else None)
        link = None if self._url is None else self._url.rstrip("/") + page
        environment = known.pop("environment") or self._environment
        about = None if alert is None else Alert.of(alert)
        return Notice(notice_id, event, at, environment, link=link, alert=about, **known)
