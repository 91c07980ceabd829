"""How somebody comes is part of what they may do: proof, second factor, address, purpose, scope."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

Channel: TypeAlias = Literal["local", "web", "api"]
Method: TypeAlias = Literal["none", "token", "password", "oidc", "ldap", "mtls", "proxy"]


@dataclass(frozen=True)
class Circumstances:
    """What is known about a call besides who makes it.

    Attributes:
        channel: `local` is a process of the home's owner, `web` a browser session, `api` a program.
        method: How the principal proved who they are.
        mfa_at: When a second factor was last proven, aware; None if it never was.
        address: IP address of the caller; None for a local process.
        purpose: What the caller says the data is for; one of the product's purposes.
        scopes: What a token is limited to, `<action>` or `<action>:<product>`; None for no limit.
    """

    channel: Channel = "local"
    method: Method = "none"
    mfa_at: datetime | None = None
    address: str | None = None
    purpose: str | None = None
    scopes: frozenset[str] | None = None


LOCAL = Circumstances()
