"""The incidents of one home: findings of checks become incidents, and people settle them.

Their rows are sealed and announced in the audit log, like those of access rights: nobody can make one vanish
by writing to the database. Even if several processes look at once, a product has at most one unsettled
incident of a kind.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, select

from secure_platform.access.policy import Policy
from secure_platform.access.principals import Principal
from secure_platform.access.reasons import open_reason, require_reason, seal_reason
from secure_platform.access.resources import Action, ProductResource
from secure_platform.access.seals import Change, Row, SealedRows
from secure_platform.audit.log import JSON
from secure_platform.control.database import as_utc, utc_now
from secure_platform.control.tables import incident as incident_table
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.keys.ring import KeyRing
from secure_platform.monitor.feedback import Feedback
from secure_platform.monitor.incident import (
    MONITOR,
    UNSETTLED,
    Incident,
    Sighting,
    Signal,
    State,
    begin,
    join,
)

Verb: TypeAlias = Literal["acknowledge", "resolve", "false-alarm"]

_ATTEMPTS: Final = 5
FROM: Final[Mapping[Verb, frozenset[State]]] = {
    "acknowledge": frozenset({"open"}),
    "resolve": UNSETTLED,
    "false-alarm": frozenset({"open", "acknowledged", "resolved"}),
}
"""In which states somebody can say so."""
_TO: Final[Mapping[Verb, State]] = {
    "acknowledge": "acknowledged",
    "resolve": "resolved",
    "false-alarm": "false_alarm",
}


class Incidents:
    """Reads and writes incidents.

    Args:
        rows: Write and verify their rows.
        keys: Seal what people say about them.
        policy: Decides who may settle one.
        clock: The present moment, aware.
    """

    def __init__(
        self, rows: SealedRows, keys: KeyRing, policy: Policy, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._rows = rows
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._read: tuple[Sequence[Row], Sequence[Incident]] = ((), ())

    def all(self, product: str | None = None) -> list[Incident]:
        """All that there ever were, of a product or of all, oldest first.

        Raises:
            IntegrityError: If a row is not the one that was recorded last, or one is missing.
        """
        rows = self._rows.all(incident_table)
        if rows is not self._read[0]:
            self._read = rows, sorted(map(self._opened, rows), key=lambda each: each.opened_at)
        return [each for each in self._read[1] if product in {None, each.product}]

    def require_genuine(self) -> None:
        """Look at the rows themselves: what was read before is believed until one of them is changed by us.

        Raises:
            IntegrityError: As `all`.
        """
        self._rows.require_genuine(incident_table)

    def get(self, incident_id: str) -> Incident:
        """The incident whose id begins so.

        Raises:
            UsageError: If there is none, or more than one.
        """
        found = [each for each in self.all() if incident_id and each.incident_id.startswith(incident_id)]
        if len(found) != 1:
            problem = "More than one incident has" if found else "No incident has"
            raise UsageError(f"{problem} an id that begins so", "See: secure-platform incident list --all.")
        return found[0]

    def blocks(self, product: str) -> bool:
        """Whether one in production waits to be acknowledged."""
        return any(each.blocking and each.state == "open" for each in self.all(product))

    def feedback(self, product: str) -> Feedback:
        """What people said about earlier points of the product."""
        return Feedback.of(self.all(product))

    def report(
        self, product: str, sightings: Sequence[Sighting], *, release: str | None = None
    ) -> list[Incident]:
        """Take in what checks said; whatever is said twice changes nothing.

        Args:
            product: The data product.
            sightings: What they said, also where all is well.
            release: What is in production, if they are about that.

        Returns:
            The incidents that are new or changed.
        """
        changed: dict[str, Incident] = {}
        for _ in range(_ATTEMPTS - 1):
            try:
                self._report(product, sightings, release, changed)
            except GateRefusedError:
                # Somebody else changed one of them meanwhile: all are looked at again.
                continue
            return list(changed.values())
        self._report(product, sightings, release, changed)
        return list(changed.values())

    def settle(
        self, principal: Principal, resource: ProductResource, incident: Incident, verb: Verb, *, note: str
    ) -> Incident:
        """Acknowledge, resolve, or call it a false alarm.

        Raises:
            AccessDeniedError: If the policy does not let them.
            GateRefusedError: If it is settled already, or somebody else changed it.
        """
        self._policy.require(principal, Action.INCIDENT_MANAGE, resource)
        require_reason(note)
        if incident.state not in FROM[verb]:
            raise GateRefusedError(
                f"The incident is {incident.state}", "Look at it: secure-platform incident show."
            )
        now, by = self._clock(), principal.name
        said = {"acknowledged_by": by, "acknowledged_at": now} if verb == "acknowledge" else _closed(by, now)
        settled = replace(incident, state=_TO[verb], note=note, **said)
        self._write(f"incident.{verb.replace('-', '_')}", incident, settled, actor=by)
        return settled

    def _report(
        self,
        product: str,
        sightings: Sequence[Sighting],
        release: str | None,
        changed: dict[str, Incident],
    ) -> None:
        now = self._clock()
        settled = _settled(self.all(product))
        news = [each for each in sightings if (each.snapshot_id, each.place) not in settled]
        by_kind = sorted(news, key=lambda each: each.kind)
        for kind, each in groupby(by_kind, key=lambda each: each.kind):
            seen = list(each)
            known = next((one for one in self.all(product) if one.unsettled and one.kind == kind), None)
            wrong = [sighting for sighting in seen if sighting.state is not None]
            if known is None and not wrong:
                continue
            found = join(known, seen, now) if known else begin(secrets.token_hex(16), product, wrong, now)
            if found is not known:
                found = replace(found, release=release or found.release)
                self._write(_action(known, found), known, found, actor=MONITOR)
                changed[found.incident_id] = found

    def _write(self, action: str, before: Incident | None, after: Incident, *, actor: str) -> None:
        row = self._rows.one(incident_table, after.incident_id) if before else None
        if before is not None and (row is None or self._opened(row) != before):
            raise GateRefusedError("The incident was changed by somebody else", "Look at it again.")
        detail: dict[str, JSON] = {
            "product": after.product,
            "kind": after.kind,
            "severity": after.severity,
            "signals": [signal.title for signal in after.waiting],
        }
        self._rows.write(
            action,
            [Change(incident_table, row, self._sealed(after))],
            actor=actor,
            subject=f"incident:{after.incident_id}",
            detail=detail,
            check=lambda connection: _require_only(connection, after) if before is None else None,
        )

    def _sealed(self, incident: Incident) -> Row:
        row: dict[str, Any] = {each.name: getattr(incident, each.name) for each in fields(Incident)}
        note = None if incident.note is None else seal_reason(self._keys, incident.incident_id, incident.note)
        return {**row, "signals": [signal.to_json() for signal in incident.signals], "note": note}

    def _opened(self, row: Row) -> Incident:
        said = {name: value for name, value in row.items() if name != "seal"}
        for name, value in said.items():
            if isinstance(value, datetime):
                said[name] = as_utc(value)
        said["signals"] = tuple(map(Signal.of, said["signals"]))
        if said["note"] is not None:
            said["note"] = open_reason(self._keys, said["incident_id"], said["note"])
        return Incident(**said)


def _settled(incidents: Sequence[Incident]) -> set[tuple[str, tuple[str, str, str]]]:
    """What a person has judged is over, however often a step that changed nothing says it again."""
    return {
        (snapshot, signal.place)
        for incident in incidents
        if incident.judged and not incident.unsettled
        for signal in incident.signals
        for snapshot in signal.snapshots
    }


def _closed(by: str, now: datetime) -> dict[str, Any]:
    return {"closed_by": by, "closed_at": now}


def _action(before: Incident | None, after: Incident) -> str:
    if before is None:
        return "incident.open"
    if after.state == "resolved":
        return "incident.recover"
    return "incident.worsen" if after.revision > before.revision else "incident.continue"


def _require_only(connection: Connection, incident: Incident) -> None:
    columns = incident_table.c
    query = select(columns.incident_id).where(
        columns.product == incident.product,
        columns.kind == incident.kind,
        columns.state.in_(sorted(UNSETTLED)),
    )
    if connection.execute(query).first() is not None:
        raise GateRefusedError("Somebody else has just opened the incident", "Look at it again.")
