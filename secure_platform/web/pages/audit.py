"""The audit log, readable: searched from its newest entry back, verified as a whole, proved entry by entry.

Reading it is itself recorded. Names stand in place of keyed hashes where this home knows whose they are.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform import canonical
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.audit.reader import Entry
from secure_platform.errors import UsageError
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.forms import form_of
from secure_platform.web.pages.desk import Desk, download
from secure_platform.web.routes import OwnRoute

PAGE: Final = 50
MOST_LOOKED_AT: Final = 20_000
LONGEST: Final = 200
_OTHERS: Final = ("anonymous", "dagster", "service:gate")
# Of use to verify rows and decisions, not to read; an entry's own page shows it.
_NOISE: Final = frozenset({"sealed", "question", "policy"})
_FIELDS: Final = ("text", "action", "subject", "principal", "since", "until")


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        text: Occurs anywhere in the entry.
        action: Is the action, or the beginning of it.
        subject: Occurs in the subject.
        principal: Name of who did it.
        since: First day.
        until: Last day.
    """

    text: str
    action: str
    subject: str
    principal: str
    since: date | None
    until: date | None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Search":
        """Read the fields of the search form.

        Raises:
            UsageError: If a day is none.
        """
        words = {name: given.get(name, "")[:LONGEST].strip() for name in _FIELDS}
        return cls(
            words["text"],
            words["action"],
            words["subject"],
            words["principal"],
            _day(words["since"]),
            _day(words["until"]),
        )

    def finds(self, entry: Entry, actors: Collection[str]) -> bool:
        """Whether an entry is meant; `actors` are the keyed hashes of the principal, none for any."""
        body = entry.body
        return (
            body["action"].startswith(self.action)
            and self.subject in body["subject"]
            and (not actors or body["actor"] in actors or body["detail"].get("principal") in actors)
            and (self.until is None or datetime.fromisoformat(body["time"]) < _start(self.until, days=1))
        )

    def is_over(self, entry: Entry) -> bool:
        """Whether an entry, and so every one before it, is too old."""
        return self.since is not None and datetime.fromisoformat(entry.body["time"]) < _start(self.since)


@dataclass(frozen=True)
class Shown:
    """An entry with names in place of hashes."""

    seq: int
    body: Mapping[str, Any]
    detail: str


class Audit(Desk):
    """The log's pages; every one of them asks for the right to read it, which records the reading."""

    def search(self, request: Request) -> Response:
        """The entries that are looked for, newest first, a page at a time."""
        self._require(request)
        given = request.query_params
        search, size = Search.of(given), self.services.audit.size()
        before = min(_number(given.get("before", ""), size), size)
        found, reached = self._find(search, before)
        return self.show(
            request,
            "audit.html",
            search=search,
            fields={name: given.get(name, "")[:LONGEST] for name in _FIELDS if given.get(name)},
            entries=found,
            reached=reached,
            before=before,
            size=size,
        )

    def entry(self, request: Request) -> Response:
        """One entry, with what announced or closed it."""
        self._require(request)
        entry = self._entry(request)
        related = self._related(entry)
        return self.show(
            request,
            "entry.html",
            entry=self._shown(entry, self._names()),
            text=json.dumps(entry.body, indent=2, ensure_ascii=False, sort_keys=True),
            leaf=entry.leaf.hex(),
            related=related,
        )

    def prove(self, request: Request) -> Response:
        """The proof that an entry is in the log, for other eyes; it is checked against a fresh checkpoint."""
        form_of(request)
        self._require(request)
        entry = self._entry(request)
        proof = self.services.audit.prove(entry.seq).to_json()
        return download(canonical.dumps(proof), f"audit-{entry.seq}-proof.json", "application/json")

    def verify(self, request: Request) -> Response:
        """Recompute the whole log, and compare it with its checkpoints and one that was kept elsewhere."""
        form = form_of(request)
        self._require(request)
        kept = form.get("checkpoint", "").replace("\r\n", "\n").strip()
        report = self.services.audit.verify([f"{kept}\n"] if kept else [])
        checkpoint = self.services.audit.checkpoint()
        return self.show(request, "verified.html", report=report, kept=bool(kept), checkpoint=checkpoint)

    def _require(self, request: Request) -> None:
        self.services.policy.require(principal_of(request), Action.AUDIT_READ, PlatformResource())

    def _entry(self, request: Request) -> Entry:
        size = self.services.audit.size()
        seq = _number(request.path_params["seq"], size)
        for entry in self.services.audit.entries(seq, seq + 1):
            return entry
        raise UsageError("The audit log has no such entry", f"It has the entries 0 to {size - 1}.")

    def _find(self, search: Search, before: int) -> tuple[list[Shown], int]:
        """A page of entries, and the position before which to go on; 0 when there is nothing before it."""
        actors = self.services.keys.identifiers(search.principal) if search.principal else []
        names, lowest = self._names(), max(0, before - MOST_LOOKED_AT)
        found: list[Shown] = []
        # The rarest of what must occur in the text narrows the look down.
        actor = actors[0] if len(actors) == 1 else ""
        needle = max(actor, _quoted(search.text), _quoted(search.subject), search.action, key=len)
        for entry in self.services.audit.backwards(needle, lowest, before):
            if search.is_over(entry):
                return found, 0
            if search.finds(entry, actors) and self._says(entry, search.text):
                found.append(self._shown(entry, names))
            if len(found) == PAGE:
                return found, entry.seq
        return found, lowest

    def _says(self, entry: Entry, text: str) -> bool:
        return not text or _quoted(text) in canonical.dumps(dict(entry.body)).decode()

    def _related(self, entry: Entry) -> list[tuple[str, int]]:
        if "intent" in entry.body:
            return [("announced by", int(entry.body["intent"]))]
        if entry.body["phase"] != "intent":
            return []
        outcomes = self.services.audit.backwards(f'"intent":{entry.seq},', entry.seq)
        return [("closed by", found.seq) for found in outcomes if found.body.get("intent") == entry.seq]

    def _names(self) -> dict[str, str]:
        names = [*(principal.name for principal in self.services.principals.list()), *_OTHERS]
        return {hashed: name for name in names for hashed in self.services.keys.identifiers(name)}

    def _shown(self, entry: Entry, names: Mapping[str, str]) -> Shown:
        body = _named(dict(entry.body), names)
        return Shown(entry.seq, body, ", ".join(_words(body["detail"])))


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Audit(services)
    return [
        room.get("/audit", room.search, Action.AUDIT_READ),
        room.post("/audit/verify", room.verify, Action.AUDIT_READ),
        room.get("/audit/{seq}", room.entry, Action.AUDIT_READ),
        room.post("/audit/{seq}/proof", room.prove, Action.AUDIT_READ),
    ]


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST // 10 else otherwise


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError("What was given is not a day", "Write it like 2026-01-31.") from None


def _start(day: date, days: int = 0) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(days=days)


def _quoted(text: str) -> str:
    """A text as it stands inside the canonical JSON of an entry."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _named(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case str():
            return names.get(value, value)
        case Mapping():
            return {name: _named(item, names) for name, item in value.items()}
        case list():
            return [_named(item, names) for item in value]
        case _:
            return value


def _words(detail: Mapping[str, Any]) -> Iterator[str]:
    for name, value in detail.items():
        if name in _NOISE:
            continue
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"{name} {shown}"
