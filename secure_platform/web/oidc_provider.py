"""The provider is who the settings name: everything else about it comes from its own document, over TLS.

OpenID Connect Discovery 1.0, PKCE with S256 (RFC 7636), the issuer in the answer (RFC 9207), RP-initiated
logout. Its keys are kept for an hour and looked up again when it signs with a new one, at most once a minute.
"""

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from secure_platform.control.database import utc_now
from secure_platform.errors import UsageError
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.site import OidcSettings
from secure_platform.web.oidc_token import ALGORITHMS, Expected, ProviderRefusedError, read_id_token

KEPT: Final = timedelta(hours=1)
AGAIN: Final = timedelta(minutes=1)
LONGEST_ANSWER: Final = 1 << 20
TIMEOUT_SECONDS: Final = 10
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_KEYS: Final = frozenset({"RSA", "EC", "OKP"})
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_FURTHER: Final = ("userinfo_endpoint", "end_session_endpoint")


@dataclass(frozen=True)
class Asked:
    """What a login asks the provider for, and what the answer must fit.

    Attributes:
        state: Comes back with the answer.
        nonce: Comes back in the ID token.
        verifier: Of PKCE; only who began the login knows it.
        begun_at: When.
        again: Whether the person must prove who they are now, whatever session the provider has.
    """

    state: str
    nonce: str
    verifier: str
    begun_at: datetime
    again: bool


class Provider:
    """An OpenID Connect provider as the settings name it.

    Args:
        settings: Issuer, client and what its claims mean.
        secrets: Where the client's secret is.
        longest: How long ago a login at the provider may be.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        settings: OidcSettings,
        secrets: Secrets,
        *,
        longest: timedelta,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.settings = settings
        self._secrets = secrets
        self._longest = longest
        self._clock = clock
        self._lock = Lock()
        self._document: tuple[datetime, Mapping[str, Any]] | None = None
        self._keys: tuple[datetime, KeySet] | None = None

    def authorization_url(self, asked: Asked, redirect_uri: str) -> str:
        """Where the browser goes to log in."""
        again = {"prompt": "login", "max_age": 0}
        parameters = again if asked.again else {"max_age": int(self._longest.total_seconds())}
        return str(
            prepare_grant_uri(
                self._metadata()["authorization_endpoint"],
                self.settings.client_id,
                "code",
                redirect_uri,
                list(self.settings.scopes),
                asked.state,
                nonce=asked.nonce,
                code_challenge=create_s256_code_challenge(asked.verifier),
                code_challenge_method="S256",
                acr_values=" ".join(self.settings.mfa_acr) or None,
                **parameters,
            )
        )

    def redeem(self, answer: Mapping[str, str], asked: Asked, redirect_uri: str) -> Mapping[str, Any]:
        """The claims about the person, for the code in the provider's answer.

        Raises:
            ProviderRefusedError: If anything about it is not as it must be.
        """
        self._require_issuer(answer.get("iss"))
        if "code" not in answer:
            raise ProviderRefusedError("code")
        tokens = self._tokens(answer["code"], asked.verifier, redirect_uri)
        token, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str) or not isinstance(access, str):
            raise ProviderRefusedError("token")
        expected = Expected(
            self.settings.issuer,
            self.settings.client_id,
            asked.nonce,
            access,
            asked.begun_at if asked.again else asked.begun_at - self._longest,
            must_say_when=asked.again,
        )
        claims = read_id_token(token, expected, self._key_set, now=self._clock())
        return (
            claims if self.settings.groups_claim in claims else {**self._userinfo(access, claims), **claims}
        )

    def logout_url(self, return_to: str) -> str | None:
        """Where the browser logs out of the provider, too; None if it offers no such place."""
        end = self._metadata().get("end_session_endpoint")
        if end is None:
            return None
        client, back = quote_plus(self.settings.client_id), quote_plus(return_to)
        return f"{end}{'&' if '?' in end else '?'}client_id={client}&post_logout_redirect_uri={back}"

    def _metadata(self) -> Mapping[str, Any]:
        with self._lock:
            if self._document is None or self._clock() - self._document[0] > KEPT:
                url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
                document = self._json("GET", url)
                _require_document(document, self.settings.issuer)
                self._document = self._clock(), document
            return self._document[1]

    def _require_issuer(self, said: str | None) -> None:
        promised = self._metadata().get("authorization_response_iss_parameter_supported") is True
        if said is None and not promised:
            return
        if said != self.settings.issuer:
            raise ProviderRefusedError("issuer")

    def _tokens(self, code: str, verifier: str, redirect_uri: str) -> Mapping[str, Any]:
        """What the provider gives for the code; it is asked again if our secret was changed meanwhile."""
        if self.settings.client_secret is None:
            return self._exchange(code, verifier, redirect_uri, None)
        secret = self._secrets.get(self.settings.client_secret)
        try:
            return self._exchange(code, verifier, redirect_uri, secret.line)
        except ProviderRefusedError:
            newest = self._secrets.refresh(secret)
            if newest.equals(secret.value):
                raise
            return self._exchange(code, verifier, redirect_uri, newest.line)

    def _exchange(self, code: str, verifier: str, redirect_uri: str, secret: str | None) -> Mapping[str, Any]:
        client = self.settings.client_id
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": client,
        }
        methods = self._metadata().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = None
        if secret is not None and "client_secret_basic" in methods:
            basic = (quote_plus(client), quote_plus(secret))
        elif secret is not None:
            body["client_secret"] = secret
        return self._json("POST", self._metadata()["token_endpoint"], data=body, auth=basic)

    def _userinfo(self, access_token: str, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        endpoint = self._metadata().get("userinfo_endpoint")
        if endpoint is None:
            return {}
        said = self._json("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})
        if said.get("sub") != claims["sub"]:
            raise ProviderRefusedError("userinfo")
        return said

    def _key_set(self, kid: str | None) -> KeySet:
        with self._lock:
            kept = self._keys
        known = kept is not None and (kid is None or any(key.kid == kid for key in kept[1].keys))
        age = None if kept is None else self._clock() - kept[0]
        if kept is not None and age is not None and age < (KEPT if known else AGAIN):
            return kept[1]
        keys = _public_keys(self._json("GET", self._metadata()["jwks_uri"]))
        with self._lock:
            self._keys = self._clock(), keys
        return keys

    def _json(self, method: str, url: str, **arguments: Any) -> Mapping[str, Any]:
        """The object that a URL of the provider answers with; what it says otherwise is never shown."""
        verify = ssl.create_default_context()
        if self.settings.ca is not None:
            verify.load_verify_locations(self.settings.ca)
        try:
            with (
                httpx.Client(verify=verify, trust_env=False, timeout=TIMEOUT_SECONDS) as client,
                client.stream(method, url, **arguments) as answer,
            ):
                body = bytearray()
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > LONGEST_ANSWER:
                        raise ProviderRefusedError("length")
                status = answer.status_code
            said = json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
            raise ProviderRefusedError("answer") from None
        if status != httpx.codes.OK or not isinstance(said, dict):
            raise ProviderRefusedError("answer")
        return said


def require_safe(settings: OidcSettings) -> None:
    """Refuse settings that would let somebody between us and the provider decide who logs in.

    Raises:
        UsageError: If the issuer is not reached over TLS, and is not on this machine.
    """
    if not _is_safe(settings.issuer) or urlsplit(settings.issuer).query:
        raise UsageError(
            "identity.oidc.issuer must be an https address", "Name the provider by https, without a query."
        )


def _require_document(document: Mapping[str, Any], issuer: str) -> None:
    """The provider's description of itself fits our settings and what we insist on."""
    named = [document.get(name) for name in _ENDPOINTS] + [
        document[name] for name in _FURTHER if name in document
    ]
    challenges = document.get("code_challenge_methods_supported", ["S256"])
    algorithms = document.get("id_token_signing_alg_values_supported", ["RS256"])
    if (
        document.get("issuer") != issuer
        or not all(isinstance(url, str) and _is_safe(url) for url in named)
        or "S256" not in challenges
        or not set(ALGORITHMS) & set(algorithms)
        or "code" not in document.get("response_types_supported", ["code"])
    ):
        raise ProviderRefusedError("discovery")


def _public_keys(document: Mapping[str, Any]) -> KeySet:
    """The keys that sign; kinds that are not known here are left out."""
    try:
        signing = [key for key in document["keys"] if key.get("kty") in _KEYS and key.get("use") != "enc"]
        return KeySet.import_key_set({"keys": signing})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise ProviderRefusedError("keys") from None


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
