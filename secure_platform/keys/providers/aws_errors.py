"""What AWS's refusals mean, and what to do about each, by their codes.

The text of a refusal is read in one case only and never repeated: a signature that is refused for its time
means that a clock is wrong.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from secure_platform.errors import IntegrityError, SecurePlatformError, ServiceError
from secure_platform.key_settings import AwsSettings

Explanation: TypeAlias = tuple[type[SecurePlatformError], str, str]

_DENIED: Final[Explanation] = (
    ServiceError,
    "AWS does not allow {asked}",
    "Allow it in the policies of this identity and of the key or secret.",
)
_MISSING: Final[Explanation] = (
    ServiceError,
    "There is nothing for {asked}",
    "Correct its name or the region in the settings, or restore it.",
)
_DISABLED: Final[Explanation] = (
    ServiceError,
    "The key is disabled: {asked}",
    "Find out who disabled it and why, then enable it in KMS and do this again: nothing was changed.",
)
_STATE: Final[Explanation] = (
    ServiceError,
    "The key or secret waits for its deletion, or is not ready: {asked}",
    "Cancel the deletion before it is due, then do this again: without the key nothing in the home opens.",
)
_CHANGED: Final[Explanation] = (
    IntegrityError,
    "What was given to {asked} does not open: it was changed, or it belongs to something else",
    "Restore the control database, or name the key that wrapped it.",
)
_KIND: Final[Explanation] = (
    ServiceError,
    "The key is of another kind: {asked}",
    "Name a symmetric key to wrap with, and an ECC_NIST_P256 key to sign with.",
)
_THROTTLED: Final[Explanation] = (
    ServiceError,
    "AWS throttles {asked}",
    "Try again later, or ask for a higher quota.",
)
_IDENTITY: Final[Explanation] = (
    ServiceError,
    "AWS does not accept this platform's credentials for {asked}",
    "They are wrong, expired or revoked: give the process new ones.",
)
_CLOCK: Final[Explanation] = (
    ServiceError,
    "AWS refuses the time at which {asked} was signed",
    "Set this machine's clock: it may be off by five minutes at most.",
)
_AWAY: Final[Explanation] = (ServiceError, "AWS failed at {asked}", "Try again later: nothing was changed.")
_UNKNOWN: Final[Explanation] = (ServiceError, "AWS refuses {asked}", "Check the names in the settings.")

_BY_CODE: Final[dict[str, Explanation]] = {
    # The number is moto's.
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"), _DENIED),
    **dict.fromkeys(("NotFoundException", "ResourceNotFoundException"), _MISSING),
    "DisabledException": _DISABLED,
    **dict.fromkeys(("KMSInvalidStateException", "InvalidRequestException"), _STATE),
    **dict.fromkeys(("InvalidCiphertextException", "IncorrectKeyException"), _CHANGED),
    **dict.fromkeys(("InvalidKeyUsageException", "UnsupportedOperationException"), _KIND),
    **dict.fromkeys(
        (
            "LimitExceededException",
            "RequestLimitExceeded",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        _THROTTLED,
    ),
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        _IDENTITY,
    ),
    **dict.fromkeys(("RequestExpired", "RequestTimeTooSkewed"), _CLOCK),
    **dict.fromkeys(
        (
            "DependencyTimeoutException",
            "InternalFailure",
            "InternalServiceError",
            "KMSInternalException",
            "KeyUnavailableException",
            "ServiceUnavailable",
        ),
        _AWAY,
    ),
}
_ABOUT_TIME: Final = ("Signature expired", "Signature not yet current")
_SERVER_ERROR: Final = 500


def explained(asked: str, response: Mapping[str, Any]) -> SecurePlatformError:
    """The error for people.

    Args:
        asked: What AWS was asked.
        response: Its answer, as botocore gives it.
    """
    error = response.get("Error", {})
    code, text = str(error.get("Code", "")), str(error.get("Message", ""))
    has_failed = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= _SERVER_ERROR
    kind, culprit, fix = _BY_CODE.get(code, _AWAY if has_failed else _UNKNOWN)
    if any(words in text for words in _ABOUT_TIME):
        kind, culprit, fix = _CLOCK
    return kind(culprit.format(asked=asked), fix)


def unreachable(asked: str, settings: AwsSettings, error: Exception) -> ServiceError:
    """The error when AWS was not asked at all, or did not answer.

    Args:
        asked: What it was to be asked.
        settings: Which account.
        error: Of botocore; its text is not repeated.
    """
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return ServiceError(
            f"This process has no AWS credentials for {asked}",
            "Give it a role, a profile or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    if isinstance(error, exceptions.CredentialRetrievalError | exceptions.TokenRetrievalError):
        return ServiceError(
            f"AWS credentials cannot be had for {asked}", "Look at the profile or role of this process."
        )
    if isinstance(error, exceptions.SSLError):
        return ServiceError(
            f"AWS does not prove by TLS who it is for {asked}",
            "Check aws.endpoint_url, AWS_CA_BUNDLE and the clock of this machine.",
        )
    if isinstance(error, exceptions.ReadTimeoutError | exceptions.ConnectTimeoutError):
        return ServiceError(
            f"AWS did not answer {asked} within {settings.timeout_seconds:g} s",
            "Look at the network, or raise aws.timeout_seconds.",
        )
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return ServiceError(f"AWS cannot be reached for {asked}", "Check the region, endpoint and network.")
    return ServiceError(f"AWS cannot be asked {asked}", "Check region and names in the settings.")
