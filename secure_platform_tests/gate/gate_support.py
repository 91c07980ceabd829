"""A whole gate over real keys, policy, log and database; run as a program it decides, a line per release."""

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from secure_platform.access.circumstances import Circumstances
from secure_platform.access.freezes import Freezes
from secure_platform.access.grants import Grants
from secure_platform.access.policy import Policy
from secure_platform.access.principals import Principal, Principals
from secure_platform.access.seals import SealedRows
from secure_platform.access.situation import Declared, HomeSituation
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.errors import SecurePlatformError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.releases import Gate
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider

ORIGIN = "example.org/audit"
PEOPLE = {
    "rita": ["data_engineer"],
    "sam": ["data_steward"],
    "tess": ["data_steward"],
    "ada": ["admin"],
    "both": ["admin", "data_steward"],
    "anna": ["analyst"],
    "olga": ["auditor"],
    "pia": ["privacy_officer"],
}
DEPLOYER = "service:deployer"


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


class Home:
    """Everything that the gate needs, in one folder; the clock moves when it is told to."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        fresh = not (path / "control.db").exists()
        self.path = path
        self.database = ControlDatabase.at(path / "control.db")
        if fresh:
            self.database.migrate()
            LocalKeyProvider.create(path / "keys")
        provider = LocalKeyProvider.open(path / "keys")
        home = HomeKeys(provider, self.database, path / "audit.db", origin=ORIGIN)
        self.keys, self.audit = home.ring, home.audit
        if fresh:
            self.keys.initialise()
        rows = SealedRows(self.database, self.keys, self.audit)
        self.principals = Principals(self.database, self.audit, rows)
        self.clock = clock
        self.declared: dict[str, Declared] = {}
        self.situation = HomeSituation(
            rows, self.keys, self.principals, lambda name: self.declared.get(name, Declared())
        )
        self.policy = Policy(self.audit, None, self.situation, clock=clock)
        self.told: list[tuple[str, str | None]] = []
        self.grants = Grants(
            rows,
            self.keys,
            self.principals,
            self.policy,
            self.situation,
            announce=lambda event, product: self.told.append((event, product)),
            clock=clock,
        )
        self.freezes = Freezes(
            rows,
            self.keys,
            self.policy,
            self.situation,
            announce=lambda event, product: self.told.append((event, product)),
            clock=clock,
        )
        self.gate = Gate(self.database, self.audit, self.policy, self.keys, self.principals, clock=clock)
        if fresh:
            for name, roles in PEOPLE.items():
                self.principals.add(name, roles=roles, actor="test")
            self.principals.add(DEPLOYER, kind="service", roles=["pipeline"], actor="test")

    def person(self, name: str) -> Principal:
        """Somebody who has just proven their second factor on the web page."""
        return self.coming(name, Circumstances("web", "password", self.clock(), "192.0.2.7"))

    def coming(self, name: str, circumstances: Circumstances) -> Principal:
        found = self.principals.get(name)
        assert found is not None
        return replace(found, circumstances=circumstances)

    @property
    def deployer(self) -> Principal:
        return self.person(DEPLOYER)

    def release(self, name: str = "r1", **changes: Any) -> ReleaseRecord:
        values = {
            "digest": digest(name),
            "product": "healthcare",
            "environment": "production",
            "classification": "confidential",
            "requested_by": "rita",
            "run_id": "run",
            "input_key": f"input of {name}",
            "base": None,
            **changes,
        }
        number = changes.get("number", self.gate.next_number(values["product"]))
        return self.gate.register(**{**values, "number": number})

    def approved(self, name: str = "r1", **changes: Any) -> ReleaseRecord:
        record = self.release(name, **changes)
        return self.gate.approve(record.digest, self.person("sam"), reason="fine", base=record.base)

    def tamper(self, statement: str, **values: Any) -> None:
        """Change the control database as somebody who owns it could."""
        with self.database.write() as connection:
            connection.execute(text(statement), values)

    def phases(self, action: str) -> list[str]:
        return [e.body["phase"] for e in self.audit.entries() if e.body["action"] == action]


_TEMPLATES: dict[Path, Path] = {}


def new_home(path: Path, clock: Callable[[], datetime] = utc_now) -> Home:
    """A fresh home; the first one in a test run is made, the others are copies of it."""
    run = path.parent
    if run not in _TEMPLATES:
        template = Home(run / "template")
        template.audit.close()
        template.database.close()
        _TEMPLATES[run] = template.path
    shutil.copytree(_TEMPLATES[run], path, dirs_exist_ok=True)
    return Home(path, clock)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


def decide(home: Home, verb: str, name: str, digests: Iterable[str]) -> None:
    """Say when ready, then decide on each release when told to, and say what came of it."""
    person = home.person(name)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for each in digests:
        sys.stdin.readline()
        try:
            match verb:
                case "approve":
                    record = home.gate.approve(each, person, reason="race", base=None)
                case "withdraw":
                    record = home.gate.withdraw(each, person, reason="race")
                case _:
                    record = home.gate.reject(each, person, reason="race")
            said = str(record.state)
        except SecurePlatformError as error:
            said = f"{type(error).__name__} {error.culprit}"
        sys.stdout.write(f"{each} {said}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _, folder, verb, name, *digests = sys.argv
    decide(Home(Path(folder)), verb, name, digests)
