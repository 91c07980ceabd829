"""A home's credentials, sessions and throttle, whose clock stands still until a test moves it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
from access_home import Home

from secure_platform.access.credentials import Credentials
from secure_platform.access.principals import Principal
from secure_platform.access.sessions import Sessions
from secure_platform.access.throttle import Throttle
from secure_platform.access.totp import readable_secret

PASSWORD = "seventeen purple kites over Graz"


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration: float) -> None:
        self.now += timedelta(**duration)


class IdentityHome(Home):
    """Everything that says who somebody is."""

    def __init__(self, directory: Path, migrated: Path | None) -> None:
        super().__init__(directory, migrated)
        self.clock = Clock()
        parts = (self.database, self.audit, self.rows)
        self.credentials = Credentials(*parts, self.keys, self.principals, clock=self.clock)
        self.sessions = Sessions(*parts, self.principals, clock=self.clock)
        self.throttle = Throttle(self.database, self.audit, clock=self.clock)

    def person(self, name: str = "alice", *roles: str) -> Principal:
        return self.principals.add(name, roles=roles, actor="admin")

    def set_up(self, name: str = "alice", password: str = PASSWORD) -> pyotp.TOTP:
        """Use a one-time link; the person's app."""
        link = self.credentials.invite(name, actor="admin").link
        app = app_of(self.credentials.secret_for(link))
        assert self.credentials.set_up(link, self.code(app), password)
        self.clock.forward(seconds=30)
        return app

    def code(self, app: pyotp.TOTP, seconds: int = 0) -> str:
        return app.at(self.clock.now + timedelta(seconds=seconds))


def app_of(secret: bytes) -> pyotp.TOTP:
    return pyotp.TOTP(readable_secret(secret).replace(" ", ""))
