"""An ID token counts only if it was signed for us, by our provider, for this login, just now.

OpenID Connect Core 1.0 §3.1.3.7. The algorithms are ours to choose, never the token's: no `none`, and no
HMAC, under which a public key would be a secret. One audience only: a token for several was not made for us.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from secure_platform.access.throttle import LoginRefusedError

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY: Final = timedelta(minutes=1)
YOUNGEST: Final = timedelta(minutes=10)
_SUBJECT_CHARACTERS: Final = 255


class ProviderRefusedError(LoginRefusedError):
    """What the provider sent back does not prove who somebody is.

    Args:
        reason: Which check it failed, as one word for the audit log.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            "The identity provider's answer cannot be used",
            "Log in again; if it stays, ask an administrator.",
        )


@dataclass(frozen=True)
class Expected:
    """What a token must say.

    Attributes:
        issuer: The provider.
        client_id: Of this platform.
        nonce: Of this login.
        access_token: That came with it.
        not_before: Earliest moment of the person's login at the provider.
        must_say_when: Whether it must say that moment.
    """

    issuer: str
    client_id: str
    nonce: str
    access_token: str
    not_before: datetime
    must_say_when: bool


def read_id_token(
    token: str, expected: Expected, keys: Callable[[str | None], KeySet], *, now: datetime
) -> Mapping[str, Any]:
    """The claims of a token that counts.

    Args:
        token: As it came.
        expected: What it must say.
        keys: The provider's public keys; it is told which one is looked for.
        now: The present moment, aware.

    Raises:
        ProviderRefusedError: If it does not count.
    """
    claims = CodeIDToken(*_signed(token, keys), params=_parameters(expected))
    try:
        claims.validate(now=int(now.timestamp()), leeway=int(LEEWAY.total_seconds()))
    except (JoseError, ValueError, TypeError, KeyError):
        raise ProviderRefusedError("claims") from None
    _require(claims["iss"] == expected.issuer, "issuer")
    _require(claims["aud"] in (expected.client_id, [expected.client_id]), "audience")
    _require(isinstance(claims["sub"], str) and 0 < len(claims["sub"]) <= _SUBJECT_CHARACTERS, "subject")
    _require(now - _moment(claims["iat"], "iat") <= YOUNGEST, "iat")
    if expected.must_say_when or "auth_time" in claims:
        _require(_moment(claims.get("auth_time"), "auth_time") >= expected.not_before - LEEWAY, "auth_time")
    return dict(claims)


def proven_at(claims: Mapping[str, Any], *, now: datetime) -> datetime | None:
    """When the person proved who they are at the provider; None if it does not say."""
    if "auth_time" not in claims:
        return None
    return min(_moment(claims["auth_time"], "auth_time"), now)


def texts(value: Any) -> frozenset[str]:
    """The texts of a claim that is one or a list of them; nothing else counts."""
    values = value if isinstance(value, list) else [value]
    return frozenset(each for each in values if isinstance(each, str))


def _signed(token: str, keys: Callable[[str | None], KeySet]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Claims and header, if the signature is one of the provider's keys'."""
    try:
        header = jws.extract_compact(token.encode()).headers()
        kid = header.get("kid")
        _require(header.get("alg") in ALGORITHMS, "algorithm")
        _require(kid is None or isinstance(kid, str), "key")
        decoded = jwt.decode(token, keys(kid), algorithms=list(ALGORITHMS))
    except (JoseError, ValueError, TypeError, KeyError):
        raise ProviderRefusedError("signature") from None
    return decoded.claims, dict(decoded.header)


def _parameters(expected: Expected) -> dict[str, str]:
    return {
        "nonce": expected.nonce,
        "client_id": expected.client_id,
        "access_token": expected.access_token,
    }


def _moment(value: Any, name: str) -> datetime:
    _require(isinstance(value, int | float) and not isinstance(value, bool), name)
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise ProviderRefusedError(name) from None


def _require(condition: Any, reason: str) -> None:
    if not condition:
        raise ProviderRefusedError(reason)
