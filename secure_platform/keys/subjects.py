"""Each person of a domain has a key of their own: destroying it makes unreadable what it encrypts.

The keys are random, wrapped under the ring's `subject` key, and found by a keyed hash of the identifier. The
key of that hash is kept in the same way, under no name: rotating other keys does not lose a person. A
destroyed key leaves its row, and the audit log names it: deleting or putting back the row is noticed, and so
is one that nobody destroyed. Without the key of the hash nobody would be found, and all would get new keys.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from secure_platform import canonical
from secure_platform.audit.log import JSON, SEALED
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import subject_key
from secure_platform.errors import IntegrityError
from secure_platform.keys.catalog import SUBJECT, StoredKey, newest, readable
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.material import NotPickled, hmac_sha256, random_key
from secure_platform.keys.opened import OpenedKeys
from secure_platform.keys.rows import KeyRows
from secure_platform.keys.usage import KeyUses

_DESTROYED: Final = "key_destroyed"
_GONE: Final = "destroyed"
_INDEX: Final = ""
_AT_ONCE: Final = 5_000


class SubjectKeys(NotPickled):
    """The keys of persons.

    Args:
        database: Holds them.
        rows: The versions of the key that wraps them, and the log that names the destroyed ones.
        opened: Opens it.
        uses: Counts what it wraps.
    """

    def __init__(self, database: ControlDatabase, rows: KeyRows, opened: OpenedKeys, uses: KeyUses) -> None:
        self._database = database
        self._rows = rows
        self._opened = opened
        self._uses = uses

    def of(self, domain: str, subjects: Collection[str]) -> dict[str, bytes]:
        """32 bytes for each subject; those that have none get one, destroyed ones are left out.

        Raises:
            IntegrityError: If a row was changed, put back or deleted, or the wrapping key cannot be used.
        """
        return {subject: key for subject, (_, key) in self.placed(domain, subjects).items()}

    def placed(self, domain: str, subjects: Collection[str]) -> dict[str, tuple[bytes, bytes]]:
        """As `of`, with the keyed hash by which `at` finds each key again."""
        places = self._places(domain, subjects)
        keys = self._keys(domain, places, make=True)
        return {places[place]: (bytes.fromhex(place), key) for place, key in keys.items()}

    def at(self, domain: str, places: Collection[bytes]) -> dict[bytes, bytes]:
        """The keys at these keyed hashes; destroyed ones are left out.

        Raises:
            IntegrityError: If one never was there, or as `of`.
        """
        keys = self._keys(domain, [place.hex() for place in places], make=False)
        return {bytes.fromhex(place): key for place, key in keys.items()}

    def _keys(self, domain: str, places: Collection[str], *, make: bool) -> dict[str, bytes]:
        # Before the rows: what is destroyed meanwhile is no contradiction.
        since, destroyed = self._rows.witness.seen(), self._rows.witness.known(_DESTROYED)
        found = self._read(domain, places)
        if missing := [place for place in places if place not in found]:
            if any(_name(domain, place) in destroyed for place in missing):
                raise _revived(domain)
            if not make:
                raise _tampered(f"The control database lacks the key of a subject of {domain}")
            self._make(domain, missing)
            found |= self._read(domain, missing)
        keys, unwrap = {}, self._unwrapping()
        for place, row in found.items():
            if row.wrapped is not None:
                if _name(domain, place) in destroyed:
                    raise _revived(domain)
                keys[place] = unwrap(row)
            elif not self._rows.witness.counts(_name(domain, place), _GONE, since):
                raise _tampered(
                    f"A subject's key of {domain} is destroyed in the control database, not in the audit log"
                )
        return keys

    def any_destroyed(self, domain: str) -> bool:
        """Whether anybody's key was destroyed."""
        names = self._rows.witness.known(_DESTROYED)
        return any(name.rpartition("/")[0] == _of_domain(domain) for name in names)

    def destroyed(self, domain: str, subjects: Collection[str]) -> set[str]:
        """Those among some persons whose key was destroyed."""
        names = self._rows.witness.known(_DESTROYED)
        places = self._places(domain, subjects)
        return {person for place, person in places.items() if _name(domain, place) in names}

    def destroy(self, domain: str, subject: str, *, actor: str) -> None:
        """Remove the key of a subject for ever, and see that it never gets another."""
        (place,) = self._places(domain, [subject])
        sealed: JSON = {_name(domain, place): _GONE}
        with (
            self._rows.log.effect(
                "key.destroy", actor=actor, subject=f"{SUBJECT}/{domain}", detail={SEALED: sealed}
            ) as outcome,
            self._database.write() as connection,
        ):
            here = (subject_key.c.domain == domain, subject_key.c.subject == place)
            gone = {"wrapped": None, "destroyed_at": utc_now()}
            if not connection.execute(update(subject_key).where(*here).values(gone)).rowcount:
                row = _row(domain, place, self._newest().about.version, utc_now())
                connection.execute(insert(subject_key).values({**row, **gone}))
            outcome[SEALED] = sealed
        self._database.scrub()

    def rewrap(self, *, actor: str) -> int:
        """Wrap every key that an older version wraps under the newest; repeating it goes on where it was.

        Returns:
            How many there were.
        """
        stored, count = self._newest(), 0
        with self._rows.log.effect("key.rewrap", actor=actor, subject=SUBJECT) as outcome:
            while part := self._rewrap_some(stored):
                count += part
            outcome["count"] = count
        self._database.scrub()
        return count

    def _rewrap_some(self, stored: StoredKey) -> int:
        self._uses.take(stored, _AT_ONCE)
        older = (subject_key.c.version != stored.about.version) & subject_key.c.wrapped.is_not(None)
        with self._database.write() as connection:
            rows = connection.execute(select(subject_key).where(older).limit(_AT_ONCE)).all()
            for row in rows:
                anew = self._wrap(stored, row.domain, row.subject, self._unwrap(row))
                here = (subject_key.c.domain == row.domain) & (subject_key.c.subject == row.subject)
                connection.execute(update(subject_key).where(here).values(anew))
        return len(rows)

    def _places(self, domain: str, subjects: Collection[str]) -> dict[str, str]:
        """Keyed hash → subject."""
        index = self._index(domain)
        return {hmac_sha256(index, subject.encode()).hex(): subject for subject in subjects}

    def _index(self, domain: str) -> bytes:
        # Before the rows: what is destroyed meanwhile is no contradiction.
        destroyed = self._rows.witness.known(_DESTROYED)
        first = self._first(domain)
        if first is None and not any(name.rpartition("/")[0] == _of_domain(domain) for name in destroyed):
            self._make(domain, [_INDEX])
            first = self._first(domain)
        if first is None or first.subject != _INDEX or first.wrapped is None:
            raise _tampered(f"The control database does not hold what finds the subjects' keys of {domain}")
        return self._unwrap(first)

    def _first(self, domain: str) -> Row[Any] | None:
        """The row of the index, which precedes all others, if it is there."""
        query = select(subject_key).where(subject_key.c.domain == domain).order_by(subject_key.c.subject)
        with self._database.read() as connection:
            return connection.execute(query.limit(1)).first()

    def _read(self, domain: str, places: Collection[str]) -> dict[str, Row[Any]]:
        with self._database.read() as connection:
            return {row.subject: row for row in _select(connection, domain, places)}

    def _make(self, domain: str, places: Collection[str]) -> None:
        stored, moment = self._newest(), utc_now()
        self._uses.take(stored, len(places))
        with self._database.write() as connection:
            present = {row.subject for row in _select(connection, domain, places)}
            new = [
                _row(domain, place, stored.about.version, moment)
                | self._wrap(stored, domain, place, random_key())
                for place in places
                if place not in present
            ]
            if new:
                connection.execute(insert(subject_key), new)

    def _newest(self) -> StoredKey:
        return newest(self._rows.of(SUBJECT), SUBJECT)

    def _wrap(self, stored: StoredKey, domain: str, place: str, key: bytes) -> dict[str, Any]:
        version = stored.about.version
        sealed = self._envelope(stored).seal(key, _associated(domain, place, version))
        return {"version": version, "wrapped": sealed}

    def _unwrap(self, row: Row[Any]) -> bytes:
        return self._unwrapping()(row)

    def _unwrapping(self) -> Callable[[Row[Any]], bytes]:
        """What opens keys; the states of those that wrap them are read once, for however many."""
        wrapping = self._rows.of(SUBJECT)

        @cache
        def envelope(version: int) -> Envelope:
            return self._envelope(readable(wrapping, SUBJECT, version))

        def unwrap(row: Row[Any]) -> bytes:
            associated = _associated(row.domain, row.subject, row.version)
            name = f"A subject's key of {row.domain}"
            return envelope(row.version).open(row.wrapped, associated, name=name)

        return unwrap

    def _envelope(self, stored: StoredKey) -> Envelope:
        return self._opened.envelope(stored, "subject")


def _select(connection: Connection, domain: str, places: Collection[str]) -> Iterator[Row[Any]]:
    remaining = iter(places)
    while part := list(islice(remaining, _AT_ONCE)):
        query = select(subject_key).where(subject_key.c.domain == domain, subject_key.c.subject.in_(part))
        yield from connection.execute(query)


def _row(domain: str, place: str, version: int, moment: datetime) -> dict[str, Any]:
    return {"domain": domain, "subject": place, "version": version, "created_at": moment}


def _associated(domain: str, place: str, version: int) -> bytes:
    return canonical.dumps([domain, place, version])


def _of_domain(domain: str) -> str:
    return f"{_DESTROYED}:{domain}"


def _name(domain: str, place: str) -> str:
    return f"{_of_domain(domain)}/{place}"


def _revived(domain: str) -> IntegrityError:
    return _tampered(
        f"The key of a subject of {domain} was destroyed, and the control database does not say so"
    )


def _tampered(what: str) -> IntegrityError:
    return IntegrityError(
        what,
        "Treat the control database as tampered with: restore it from a copy, and look who can write to it.",
    )


class DomainPersons:
    """The persons of one domain, for what is encrypted under their keys.

    Args:
        keys: Of all domains.
        domain: Theirs.
    """

    def __init__(self, keys: SubjectKeys, domain: str) -> None:
        self._keys = keys
        self._domain = domain

    def made(self, persons: Collection[str]) -> dict[str, tuple[bytes, bytes]]:
        """As `PersonKeys.made`."""
        return self._keys.placed(self._domain, persons)

    def at(self, places: Collection[bytes]) -> dict[bytes, bytes]:
        """As `PersonKeys.at`."""
        return self._keys.at(self._domain, places)
