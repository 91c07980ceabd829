"""Who keeps the keys and the secrets: this home, Vault, or AWS; with no word in the settings, this home.

A secret is named by a reference (`secret://…`, see docs/secrets.md), never written here. What opens Vault or
AWS itself comes from a file or the environment: nothing else could be read yet.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from secure_platform.errors import UsageError
from secure_platform.secret_reference import FILE, OPENING, SecretReference

LOCAL: Final = "local"
VAULT: Final = "vault"
AWS: Final = "aws"


def _reference(text: str) -> str:
    try:
        return str(SecretReference.parse(text))
    except UsageError as error:
        raise ValueError(error.culprit) from None


def _opening(text: str) -> str:
    if SecretReference.parse(text).provider not in OPENING:
        raise ValueError("it must be read before any other provider is open: name a file or a variable")
    return text


def _rotatable(text: str) -> str:
    if SecretReference.parse(text).provider in OPENING:
        raise ValueError("a file or a variable is changed where it was made, not from here")
    return text


def _address(text: str) -> str:
    parts = urlsplit(text)
    host = parts.hostname or ""
    if "@" in parts.netloc:
        raise ValueError("write no user name or password into an address: it is shown in errors")
    if parts.scheme == "https" and host:
        return text
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if parts.scheme != "http" or not is_loopback:
        raise ValueError("write an https:// address; http:// only reaches this machine")
    return text


Address: TypeAlias = Annotated[str, AfterValidator(_address)]
Reference: TypeAlias = Annotated[str, AfterValidator(_reference)]
Opening: TypeAlias = Annotated[Reference, AfterValidator(_opening)]
Rotatable: TypeAlias = Annotated[Reference, AfterValidator(_rotatable)]
Kind: TypeAlias = Annotated[str, Field(pattern=r"^(data|token|cell|subject|mac|digest|sign|log)$")]
Days: TypeAlias = Annotated[int, Field(ge=1, le=3650)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class VaultSettings(_Part):
    """A Vault (or OpenBao) server and how this platform logs in there, by AppRole.

    Attributes:
        address: Its URL; https, or http on loopback.
        namespace: Of Vault Enterprise or OpenBao; None for the root namespace.
        ca: PEM file of the certificate authorities; None for those that come with Python's certifi.
        auth_mount: Where AppRole is mounted.
        role_id: Reference to the role id.
        secret_id: Reference to the secret id, or to the file with the token that it is wrapped in.
        wrapped: Whether `secret_id` names a response-wrapping token, which opens once.
        transit_mount: Where the Transit engine is mounted.
        transit_key: Its key that wraps ours.
        signing_key: Its ECDSA P-256 key that signs releases; None keeps the signing key in the key ring.
        timeout_seconds: How long one call may take.
    """

    address: Address
    namespace: str | None = None
    ca: Path | None = None
    auth_mount: str = "approle"
    role_id: Opening
    secret_id: Opening
    wrapped: bool = False
    transit_mount: str = "transit"
    transit_key: str = "secure-platform"
    signing_key: str | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10

    @model_validator(mode="after")
    def _wrapped_in_a_file(self) -> Self:
        """What a wrapping token held is kept beside it, for the processes that follow."""
        if self.wrapped and SecretReference.parse(self.secret_id).provider != FILE:
            raise ValueError("a wrapped secret id comes in a file")
        return self


class AwsSettings(_Part):
    """AWS KMS and Secrets Manager; credentials come from where AWS's own tools find them.

    Attributes:
        region: Of the keys and secrets.
        key_id: Id, ARN or alias of the symmetric KMS key that wraps ours.
        signing_key_id: Of the ECC_NIST_P256 key that signs releases; None keeps it in the key ring.
        endpoint_url: Of a VPC endpoint or emulator; None for AWS.
        timeout_seconds: How long one call may take.
    """

    region: str
    key_id: str | None = None
    signing_key_id: str | None = None
    endpoint_url: Address | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10


class LocalKeySettings(_Part):
    """The root key in this home.

    Attributes:
        passphrase: Reference to the passphrase that opens the root key's file; None for a plain 0600 file.
    """

    passphrase: Opening | None = None


class KeySettings(_Part):
    """Who wraps the keys of this home, and how long each may be used for new things.

    Attributes:
        provider: `local`, `vault`, `aws`, or one that an installed package brings (docs/key-providers.md).
        local: The root key in this home.
        options: What a provider of another package is told.
        rotate_after_days: Kind of key → days (NIST SP 800-57 part 1 rev. 5 §5.3.6); built-in defaults else.
        fips: Whether algorithms that FIPS 140-3 does not approve are refused.
    """

    provider: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = LOCAL
    local: LocalKeySettings = LocalKeySettings()
    options: dict[str, str] = {}
    rotate_after_days: dict[Kind, Days] = {}
    fips: bool = False


class RotatedSecret(_Part):
    """A secret that is rotated by schedule.

    Attributes:
        secret: Its reference.
        every_days: How often.
    """

    secret: Rotatable
    every_days: Days = 30


class SecretSettings(_Part):
    """Where `secret://…` is looked up, and for how long an answer is believed.

    Attributes:
        ttl_seconds: How long a secret is kept in memory before it is read again.
        rotated: What is rotated by schedule.
        environment: Code location → environment variable → reference: what Dagster's secrets loader gives it.
    """

    ttl_seconds: Annotated[float, Field(ge=0, le=3600)] = 300
    rotated: tuple[RotatedSecret, ...] = ()
    environment: dict[str, dict[str, Reference]] = {}


class RevealSettings(_Part):
    """How much of what keys protect one person may reveal in an hour.

    Attributes:
        calls_per_hour: How often.
        values_per_hour: How many distinct cells in all.
    """

    calls_per_hour: Annotated[int, Field(ge=0)] = 60
    values_per_hour: Annotated[int, Field(ge=0)] = 10_000
