"""One login at Vault (or OpenBao) for everybody in this process who needs it.

The token is renewed in the last third of its life, and made anew when it cannot be renewed or was revoked;
its age is measured by a clock that nobody sets. A call is tried again, a few times and after growing random
pauses, only while the server is busy or failing (429, 5xx). Neither proxies nor tokens are taken from the
environment, and a redirect is not followed: it would take the token elsewhere.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from secure_platform.errors import ServiceError
from secure_platform.key_settings import VaultSettings
from secure_platform.keys.material import NotPickled
from secure_platform.keys.providers.vault_errors import Refusal, unreachable
from secure_platform.keys.providers.vault_wrapping import opened_secret_id
from secure_platform.keys.secrets.opening import read_opening

TRIES: Final = 4
PAUSE_SECONDS: Final = 0.2
_RENEW_IN_LAST: Final = 1 / 3


class VaultSession(NotPickled):
    """A connection that is logged in whenever it is used.

    Args:
        settings: Where the server is, and how to log in; what opens it is read anew for each login.
        clock: Seconds that only grow.
    """

    def __init__(self, settings: VaultSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Any = None
        self._token_seconds = 0.0
        self._token_ends = 0.0
        self._is_renewable = False

    def read(self, path: str, **parameters: str) -> dict[str, Any]:
        """The answer to a GET of a path such as `secret/data/mail`.

        Raises:
            ServiceError: If the server cannot be reached, refuses, or has nothing there.
            IntegrityError: If it says that a key does not open what it was given.
        """
        return self._ask("GET", path, params=parameters)

    def write(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a POST to a path such as `transit/encrypt/platform`; empty when it has none.

        Raises:
            ServiceError: If the server cannot be reached, refuses, or has nothing there.
            IntegrityError: If it says that a key does not open what it was given.
        """
        return self._ask("POST", path, json=dict(body or {}))

    def stay_logged_in(self) -> float:
        """Keep the token alive for what depends on it; the seconds until it is time to do so again.

        Raises:
            ServiceError: If the server cannot be reached, or refuses.
        """
        with self._lock:
            self._stay_logged_in()
            return self._token_ends - self._clock() - self._token_seconds * _RENEW_IN_LAST

    def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        with self._lock:
            self._stay_logged_in()
            try:
                return self._send(method, path, **content)
            except Refusal as refusal:
                if refusal.status != HTTPStatus.FORBIDDEN or self._is_token_good():
                    raise refusal.explained() from None
            self._log_in()
            return self._answer(method, path, **content)

    def _answer(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            return self._send(method, path, **content)
        except Refusal as refusal:
            raise refusal.explained() from None

    def _send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Ask until the server is neither busy nor failing, or the tries are used up."""
        for number in range(1, TRIES + 1):
            response = self._request(method, path, **content)
            if response.status_code < HTTPStatus.MULTIPLE_CHOICES:
                return _document(response)
            refusal = Refusal(self.settings, path, response.status_code, _errors(response))
            if number == TRIES or not refusal.is_passing:
                break
            # Those who were refused together must not come back together.
            time.sleep(PAUSE_SECONDS * 2 ** (number - 1) * random.uniform(0.5, 1))  # noqa: S311
        raise refusal

    def _request(self, method: str, path: str, **content: Any) -> Any:
        from requests import RequestException

        try:
            return self._connected().adapter.request(method, f"/v1/{path}", raise_exception=False, **content)
        except RequestException as error:
            raise unreachable(self.settings, error) from None

    def _connected(self) -> Any:
        if self._client is None:
            self._client = _client(self.settings)
        return self._client

    def _stay_logged_in(self) -> None:
        left = self._token_ends - self._clock()
        if left > self._token_seconds * _RENEW_IN_LAST:
            return
        if left <= 0 or not self._is_renewable or not self._renew():
            self._log_in()

    def _renew(self) -> bool:
        """Prolong the token; False when it is at the end of what it may be prolonged to."""
        whole = self._token_seconds
        try:
            self._keep(self._send("POST", "auth/token/renew-self", json={}))
        except Refusal:
            return False
        return self._token_seconds > whole * _RENEW_IN_LAST

    def _log_in(self) -> None:
        settings = self.settings
        role_id, secret_id = read_opening(settings.role_id).line, self._secret_id()
        self._connected().token = ""
        login = {"role_id": role_id, "secret_id": secret_id}
        self._keep(self._answer("POST", f"auth/{settings.auth_mount}/login", json=login))

    def _secret_id(self) -> str:
        if self.settings.wrapped:
            return opened_secret_id(self.settings, self._ask_with)
        return read_opening(self.settings.secret_id).line

    def _ask_with(self, token: str, path: str, body: Mapping[str, str]) -> dict[str, Any]:
        self._connected().token = token
        return self._send("POST", path, json=dict(body))

    def _keep(self, answer: Mapping[str, Any]) -> None:
        try:
            auth = answer["auth"]
            self._connected().token = auth["client_token"]
            # Zero means without end.
            self._token_seconds = float(auth["lease_duration"]) or float("inf")
            self._is_renewable = bool(auth["renewable"])
        except (KeyError, TypeError):
            raise ServiceError(
                f"The login at {self.settings.address} gave no token", "Look whether this is a Vault server."
            ) from None
        self._token_ends = self._clock() + self._token_seconds

    def _is_token_good(self) -> bool:
        try:
            self._send("GET", "auth/token/lookup-self")
        except Refusal:
            return False
        return True


def _client(settings: VaultSettings) -> Any:
    import hvac
    import requests

    session = requests.Session()
    session.trust_env = False
    session.verify = str(settings.ca) if settings.ca else True
    # Empty, not None: hvac would look into the environment and the home of the user.
    client = hvac.Client(
        url=settings.address,
        token="",
        namespace=settings.namespace or "",
        verify=session.verify,
        timeout=settings.timeout_seconds,
        allow_redirects=False,
        session=session,
        adapter=hvac.adapters.RawAdapter,
    )
    client.adapter.namespace = settings.namespace
    return client


def _document(response: Any) -> dict[str, Any]:
    try:
        found = response.json() if response.content else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ServiceError("The server answered with something else than JSON", "Look whether it is Vault.")
    return found


def _errors(response: Any) -> str:
    try:
        return " ".join(map(str, response.json()["errors"]))
    except (ValueError, KeyError, TypeError):
        return ""
