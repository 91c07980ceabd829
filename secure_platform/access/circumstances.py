"""The circumstances of a request are part of the decision: proof, second factor, address, purpose, scope."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

Channel: TypeAlias = Literal["local", "web", "api"]
Method: TypeAlias = Literal["none", "token", "password", "oidc", "ldap", "mtls", "proxy"]

# So old that no policy takes it for fresh, should it forget to ask whether there was a second factor at all.
_NEVER: Final = 2**53 - 1


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

    def mfa_age(self, at: datetime) -> int | None:
        """Whole seconds from the second factor to `at`; None if none was proven before."""
        if self.mfa_at is None or self.mfa_at > at:
            return None
        return int((at - self.mfa_at).total_seconds())

    def in_scope(self, action: str, product: str | None) -> bool:
        """Whether the token in use is good for this action, on this product or on the platform."""
        return self.scopes is None or action in self.scopes or f"{action}:{product}" in self.scopes

    def as_context(self, action: str, product: str | None, at: datetime) -> dict[str, Any]:
        """What the policies see of this, as Cedar JSON."""
        age = self.mfa_age(at)
        moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        context: dict[str, Any] = {
            "channel": self.channel,
            "method": self.method,
            "mfa": age is not None,
            "mfa_age_s": _NEVER if age is None else age,
            "in_scope": self.in_scope(action, product),
            "issued_for_it": self.scopes is not None and self.in_scope(action, product),
            "now": _extension("datetime", moment),
        }
        if self.address is not None:
            context["source_ip"] = _extension("ip", self.address)
        if self.purpose is not None:
            context["purpose"] = self.purpose
        return context


def _extension(function: str, argument: str) -> dict[str, dict[str, str]]:
    return {"__extn": {"fn": function, "arg": argument}}


LOCAL = Circumstances()
