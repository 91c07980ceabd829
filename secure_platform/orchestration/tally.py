"""What the audit log says in numbers, counted once: each entry is looked at when it is new, and never again.

How far the counting has come is kept in the home with the counts, so that a server that starts again goes on
from there. It decides nothing; where it was edited or does not fit the log, everything is counted anew.
Counts are by month, action and product: nothing that a caller can invent becomes a name here.
"""

import json
import threading
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from secure_platform.access.resources import Action
from secure_platform.audit.reader import Entry, LogReader
from secure_platform.errors import IntegrityError
from secure_platform.files import private_directory, replace_private
from secure_platform.monitor.deeds import PLATFORM
from secure_platform.services import Services
from secure_platform.taxonomy.classification import Classification

AT_ONCE: Final = 50_000
"""Entries that one call looks at."""
OTHER: Final = "other"
_MONTH: Final = len("2026-11")
_DECIDED: Final = "policy.decide"
_CHECKED: Final = "asset.check"
_DEPLOYED: Final = "release.deployed"
_PRODUCT: Final = "product:"
_RELEASE: Final = "release:"
_PURPOSE: Final = "tally"
_ACTIONS: Final = frozenset(map(str, Action))


@dataclass(frozen=True, order=True)
class Asked:
    """A kind of question to the policy.

    Attributes:
        month: Of the question, `2026-11`.
        product: Which it was about, `platform`, or `other`.
    """

    month: str
    product: str
    action: str
    allowed: bool
    restricted: bool


@dataclass
class _State:
    """What is kept.

    Attributes:
        seq: Entries that were counted.
        leaf: Hash of the last of them, in hexadecimal.
        decisions: `Asked` as JSON → how often.
        checks: Asset and check as JSON → whether it last passed.
        deployed: Digest of a release → when it was first deployed; RFC 3339.
    """

    seq: NonNegativeInt = 0
    leaf: str = ""
    decisions: dict[str, NonNegativeInt] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)
    deployed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sealed:
    """The file.

    Attributes:
        state: What is kept, as JSON.
        seal: Its MAC.
    """

    state: str
    seal: str


_READER: Final = TypeAdapter(_State)
_FILE: Final = TypeAdapter(_Sealed)


class Tally:
    """Counts of one home's audit log; usable from several threads.

    Args:
        services: The rooms.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._path: Path = services.settings.home / "telemetry" / "tally.json"
        self._lock = threading.Lock()
        self._state: _State | None = None
        self._whole = False

    def count(self, most: int = AT_ONCE) -> bool:
        """Count what is new; returns whether all of the log is counted.

        Args:
            most: How many entries are looked at, at most.

        Raises:
            IntegrityError: If an entry is not what was recorded.
        """
        with self._lock:
            log: LogReader = self._services.audit
            size, kept = log.size(), self._kept()
            fits = kept.seq == 0 or (kept.seq <= size and _leaf(log, kept.seq) == kept.leaf)
            # What is kept stays as it is until all of the new is counted: whoever fails begins from there.
            state = deepcopy(kept) if fits else _State()
            stop = min(size, state.seq + most)
            if stop > state.seq:
                self._take(log, state, state.seq, stop)
                state.seq, state.leaf = stop, _leaf(log, stop)
                self._keep(state)
            self._state = state
            self._whole = stop == size or (self._whole and fits)
            return stop == size

    def decisions(self) -> dict[Asked, int]:
        """How often the policy was asked what, and what it said; nothing before all was counted once.

        A counter that begins somewhere and then catches up would look as if much had happened at once.
        """
        with self._lock:
            kept = dict(self._kept().decisions) if self._whole else {}
        return {Asked(*json.loads(text)): count for text, count in kept.items()}

    def checks(self) -> dict[tuple[str, str], bool]:
        """(Asset, check) → whether it passed the last time."""
        with self._lock:
            kept = dict(self._kept().checks)
        return {
            (asset, check): passed for text, passed in kept.items() for asset, check in [json.loads(text)]
        }

    def deployed(self) -> dict[str, str]:
        """Digest of a release → when it first went live."""
        with self._lock:
            return dict(self._kept().deployed)

    def _take(self, log: LogReader, state: _State, start: int, stop: int) -> None:
        products = {record.digest: record.product for record in self._services.gate.list()}
        for entry in log.backwards(f'"action":"{_DECIDED}"', start, stop):
            asked = self._asked(entry.body, products) if entry.body["action"] == _DECIDED else None
            if asked is not None:
                said = json.dumps(list(vars(asked).values()))
                state.decisions[said] = state.decisions.get(said, 0) + 1
        newest: dict[str, bool] = {}
        for entry in log.backwards(f'"action":"{_CHECKED}"', start, stop):
            detail = entry.body.get("detail", {})
            # Older entries do not name the asset.
            if entry.body["action"] == _CHECKED and {"asset", "check", "passed"} <= detail.keys():
                named = json.dumps([str(detail["asset"]), str(detail["check"])])
                newest.setdefault(named, bool(detail["passed"]))
        state.checks |= newest
        first = {
            entry.body["subject"].removeprefix(_RELEASE): entry.body["time"]
            for entry in log.backwards(f'"action":"{_DEPLOYED}"', start, stop)
            if _is_done(entry)
        }
        state.deployed = {**first, **state.deployed}

    def _asked(self, body: Mapping[str, Any], products: Mapping[str, str]) -> Asked | None:
        detail, subject = body["detail"], body["subject"]
        if detail.get("action") not in _ACTIONS:
            return None
        entities = detail.get("question", {}).get("entities") or [{}]
        resource = entities[-1].get("attrs", {})
        name = (
            subject.removeprefix(_PRODUCT)
            if subject.startswith(_PRODUCT)
            else products.get(subject.removeprefix(_RELEASE), subject)
        )
        known = name == PLATFORM or name in self._services.products
        return Asked(
            body["time"][:_MONTH],
            name if known else OTHER,
            detail["action"],
            bool(detail.get("allowed")),
            int(resource.get("classification", 0)) >= Classification.RESTRICTED,
        )

    def _kept(self) -> _State:
        if self._state is None:
            try:
                kept = _FILE.validate_json(self._path.read_bytes())
                genuine = self._services.keys.verify_mac(_PURPOSE, kept.state.encode(), kept.seal)
                self._state = _READER.validate_json(kept.state) if genuine else _State()
            except (FileNotFoundError, ValidationError, IntegrityError):
                self._state = _State()
        return self._state

    def _keep(self, state: _State) -> None:
        text = _READER.dump_json(state)
        sealed = _Sealed(text.decode(), self._services.keys.mac(_PURPOSE, text))
        private_directory(self._path.parent)
        replace_private(self._path, _FILE.dump_json(sealed))


@lru_cache(maxsize=1)
def tally_of(services: Services) -> Tally:
    """The one of a server: what one page has counted, the others need not."""
    return Tally(services)


def _leaf(log: LogReader, seq: int) -> str:
    """Of the last of so many entries."""
    (last,) = log.entries(seq - 1, seq)
    return last.leaf.hex()


def _is_done(entry: Entry) -> bool:
    return (entry.body["action"], entry.body["phase"]) == (_DEPLOYED, "done")
