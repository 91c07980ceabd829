"""AWS KMS wraps our keys; its key never leaves KMS, and its use is in CloudTrail.

The context is bound as encryption context, which CloudTrail shows: it holds names and versions only. Every
call names the key, so that nothing wrapped under a stranger's key is opened.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from secure_platform.errors import ServiceError
from secure_platform.key_settings import AWS
from secure_platform.keys.material import KEY_BYTES, NotPickled
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.keys.providers.p256 import p256_pem
from secure_platform.keys.signing import Signature, keyid_of

_LARGEST_RAW: Final = 4096
_ALGORITHM: Final = "ECDSA_SHA_256"


class AwsKeyProvider(NotPickled):
    """Wraps with a symmetric KMS key.

    Args:
        session: The connection; its settings name the keys.
    """

    name = AWS

    def __init__(self, session: AwsSession) -> None:
        self._session = session
        self._key_id = str(session.settings.key_id)
        self._signers: dict[str, AwsSigner] = {}

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """A new 32-byte key that KMS made, and its wrapped form."""
        made = self._kms("generate_data_key", NumberOfBytes=KEY_BYTES, EncryptionContext=dict(context))
        return made["Plaintext"], made["CiphertextBlob"]

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """Encrypt a secret so that it opens only under the KMS key, in this context."""
        made = self._kms("encrypt", Plaintext=plaintext, EncryptionContext=dict(context))
        return bytes(made["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """Open what `wrap` returned.

        Raises:
            IntegrityError: If it does not authenticate under the KMS key and this context.
            ServiceError: If KMS cannot be reached or refuses, or its key is disabled or to be deleted.
        """
        opened = self._kms("decrypt", CiphertextBlob=wrapped, EncryptionContext=dict(context))
        return bytes(opened["Plaintext"])

    def rewrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """The same secret under the newest material of the KMS key; it does not leave KMS.

        Raises:
            IntegrityError: If it does not authenticate under the KMS key and this context.
            ServiceError: If KMS cannot be reached or refuses.
        """
        made = self._session.call(
            "kms",
            "re_encrypt",
            about=self._key_id,
            CiphertextBlob=wrapped,
            SourceKeyId=self._key_id,
            SourceEncryptionContext=dict(context),
            DestinationKeyId=self._key_id,
            DestinationEncryptionContext=dict(context),
        )
        return bytes(made["CiphertextBlob"])

    def signer(self, reference: str | None = None) -> "AwsSigner | None":
        """The KMS key that signs; None when the settings name none."""
        key_id = reference or self._session.settings.signing_key_id
        if key_id is not None and key_id not in self._signers:
            self._signers[key_id] = AwsSigner(self._session, key_id)
        return None if key_id is None else self._signers[key_id]

    def _kms(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._session.call("kms", operation, about=self._key_id, KeyId=self._key_id, **parameters)


class AwsSigner(NotPickled):
    """An ECC_NIST_P256 key that KMS holds; it has one version, and a new key is another reference.

    Args:
        session: The connection.
        key_id: Id, ARN or alias.

    Raises:
        ServiceError: If KMS cannot be reached or refuses, or its key is of another kind.
    """

    def __init__(self, session: AwsSession, key_id: str) -> None:
        self._session = session
        about = session.call("kms", "get_public_key", about=key_id, KeyId=key_id)
        if about["KeyUsage"] != "SIGN_VERIFY" or _ALGORITHM not in about.get("SigningAlgorithms", ()):
            raise ServiceError(
                f"The KMS key {key_id} does not sign with ECDSA P-256",
                "Make it as ECC_NIST_P256 for SIGN_VERIFY, or correct aws.signing_key_id.",
            )
        # The ARN: an alias may be made to name another key.
        self.reference = str(about["KeyId"])
        self.public_key_pem = p256_pem(about["PublicKey"], name=f"The KMS key {key_id}")

    def sign(self, message: bytes) -> Signature:
        """ECDSA P-256 signature over SHA-256 of the message, DER."""
        is_short = len(message) <= _LARGEST_RAW
        made = self._session.call(
            "kms",
            "sign",
            about=self.reference,
            KeyId=self.reference,
            Message=message if is_short else hashlib.sha256(message).digest(),
            MessageType="RAW" if is_short else "DIGEST",
            SigningAlgorithm=_ALGORITHM,
        )
        return Signature(keyid_of(self.public_key_pem), made["Signature"])
