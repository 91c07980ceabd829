"""What Vault's refusals mean, and what to do about each.

Vault's own words are read here and never repeated: they may name what was sent. It answers 403 to a dead
token, a missing right and an unknown mount alike, so that error names all that may be wrong.
"""

from http import HTTPStatus
from typing import Final, TypeAlias

from secure_platform.errors import IntegrityError, SecurePlatformError, ServiceError
from secure_platform.key_settings import VaultSettings

Explanation: TypeAlias = tuple[type[SecurePlatformError], str, str]

_BY_STATUS: Final[dict[int, tuple[str, str]]] = {
    HTTPStatus.BAD_REQUEST: ("refuses what it was asked at", "Check {names}."),
    HTTPStatus.FORBIDDEN: ("does not allow", "Check {names}, and that the policy of the role allows it."),
    HTTPStatus.NOT_FOUND: ("has nothing at", "Check {names}."),
    HTTPStatus.PRECONDITION_FAILED: ("is behind at", "Try again: a standby has not caught up."),
    HTTPStatus.TOO_MANY_REQUESTS: ("is busy and puts off", "Try again later, or raise its rate limit."),
    HTTPStatus.NOT_IMPLEMENTED: ("is not initialised and cannot answer", "Initialise and unseal it."),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "is sealed or in maintenance and cannot answer",
        "Unseal it, then do it again: nothing was changed.",
    ),
    HTTPStatus.TEMPORARY_REDIRECT: (
        "redirects",
        "Set vault.address to the active server: a redirect would take the token elsewhere.",
    ),
}
_UNKNOWN: Final = ("answers with an error to", "Look into its own log.")
_BAD_LOGIN: Final[Explanation] = (
    ServiceError,
    "Vault does not accept the role id and secret id at {asked}",
    "They are wrong, expired, used up or revoked: issue a new secret id and put it in its place.",
)
_NO_LOGIN: Final[Explanation] = (
    ServiceError,
    "Vault does not allow {asked}",
    "Check {names}. Several wrong secret ids shut a role out for a while: unlock it there, or wait.",
)
_CHANGED: Final[Explanation] = (
    IntegrityError,
    "What was given to {asked} does not open: it was changed, or it belongs to something else",
    "Restore the control database, or name the mount and key that wrapped it.",
)
# A part of Vault's words → what it means.
_BAD_REQUESTS: Final[dict[str, Explanation]] = {
    "message authentication failed": _CHANGED,
    "invalid ciphertext: version is too new": (
        IntegrityError,
        "{asked} is not the key that wrapped this: it never had that version",
        "Name the mount and key that did, or restore the key from Vault's backup.",
    ),
    "invalid ciphertext": _CHANGED,
    "too old": (
        ServiceError,
        "{asked} no longer opens versions this old",
        "Lower min_decryption_version of the key, run `secure-platform keys rewrap`, then raise it again.",
    ),
    "key not found": (
        ServiceError,
        "There is no key for {asked}",
        "Correct the name of the key in the settings, or restore it from Vault's backup.",
    ),
}


class Refusal(Exception):  # noqa: N818 it becomes an error when it is explained
    """An answer of Vault that is not success; it does not leave this folder unexplained.

    Args:
        settings: Which server.
        path: What was asked.
        status: Of HTTP.
        errors: Vault's words; they may name what was sent.
    """

    def __init__(self, settings: VaultSettings, path: str, status: int, errors: str) -> None:
        super().__init__(path, status)
        self.status = status
        self._settings = settings
        self._path = path
        self._errors = errors

    @property
    def is_passing(self) -> bool:
        """Whether it may be over in a moment."""
        is_failing = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or (
            is_failing and self.status != HTTPStatus.NOT_IMPLEMENTED
        )

    def explained(self) -> SecurePlatformError:
        """The error for people."""
        kind, culprit, fix = self._explanation()
        asked = f"{self._path} at {self._settings.address}"
        return kind(culprit.format(asked=asked), fix.format(names=self._names()))

    def _explanation(self) -> Explanation:
        if self.status == HTTPStatus.FORBIDDEN and self._is_login:
            return _NO_LOGIN
        if self.status == HTTPStatus.BAD_REQUEST:
            if self._is_login:
                return _BAD_LOGIN
            for words, meaning in _BAD_REQUESTS.items():
                if words in self._errors:
                    return meaning
        what, fix = _BY_STATUS.get(self.status, _UNKNOWN)
        return ServiceError, f"Vault {what} {{asked}} (HTTP {self.status})", fix

    @property
    def _is_login(self) -> bool:
        return self._path.endswith("/login")

    def _names(self) -> str:
        namespace = self._settings.namespace
        return f"the mount and name in the namespace {namespace!r}" if namespace else "the mount and name"


def unreachable(settings: VaultSettings, error: Exception) -> ServiceError:
    """The error when a connection did not come about, or ended.

    Args:
        settings: Which server.
        error: Of requests; its text is not repeated.
    """
    from requests import exceptions

    server = f"Vault at {settings.address}"
    if isinstance(error, exceptions.SSLError):
        return ServiceError(
            f"{server} does not prove by TLS who it is",
            "Check vault.ca, the server's certificate (name, dates) and the clocks of both machines.",
        )
    if isinstance(error, exceptions.Timeout):
        return ServiceError(
            f"{server} did not answer within {settings.timeout_seconds:g} s",
            "Look at the server and the network, or raise vault.timeout_seconds.",
        )
    return ServiceError(f"{server} cannot be reached", "Start it, or correct vault.address.")
