"""The pointer says which release is in production; it is believed only with our MAC, signature and sequence.

One small file, replaced atomically. It is canonical JSON: the pointer itself, a MAC under this home's MAC
key, and an ECDSA P-256 signature, both over the DSSE encoding of the pointer, so that neither key alone moves
production. The sequence grows by one with every change.
"""

import base64
import binascii
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.keys.ring import KeyRing
from secure_platform.release.bundle import pae
from secure_platform.release.manifest import Count, Name, Sha256

MAC_PURPOSE: Final = "pointer"
PAYLOAD_TYPE: Final = "application/vnd.secure-platform.pointer.v1+json"
MAX_BYTES: Final = 1 << 20
_FIX: Final = "Restore the warehouse folder of this product from a copy of the same day as its audit log."

FileName = Annotated[str, StringConstraints(pattern=r"\A[0-9]{1,9}-[0-9a-f]{12}\.duckdb\z")]


class Pointer(BaseModel):
    """One state of production.

    Attributes:
        release: Digest of the release's manifest.
        file: Name of the database file in the product's folder.
        file_digest: SHA-256 of its bytes.
        wrapped_key: The file's own data key, wrapped.
        rows: Rows per table.
        previous: Digest of the release that a rollback goes back to.
        sequence: Grows by one with every publication and rollback of the product.
        audit_seq: The newest audit entry when the change began; every later change is recorded after it.
        audit_leaf: Its leaf hash, 64 hex digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    product: Name
    environment: str
    release: Sha256
    number: Annotated[int, Field(ge=1)]
    file: FileName
    file_digest: Sha256
    wrapped_key: str
    rows: dict[Name, Count]
    previous: Sha256 | None
    sequence: Annotated[int, Field(ge=1)]
    audit_seq: Count
    audit_leaf: Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]
    deployed_at: str

    @property
    def state(self) -> tuple[int, str]:
        """What the audit log records of it when it was published."""
        return self.sequence, self.file_digest


def seal(pointer: Pointer, keys: KeyRing) -> bytes:
    """The pointer's document, authenticated and signed."""
    body = pointer.model_dump()
    message = pae(PAYLOAD_TYPE, canonical.dumps(body))
    signature = keys.sign(message)
    return canonical.dumps(_document(body, keys.mac(MAC_PURPOSE, message), signature.keyid, signature.value))


def signer_of(document: bytes) -> str:
    """The name of the key that a pointer, which `unseal` accepted, was signed with."""
    return str(canonical.loads(document, name="A production pointer")["signature"]["keyid"])


def unseal(document: bytes, keys: KeyRing, product: str) -> Pointer:
    """Read a pointer of this product.

    Raises:
        IntegrityError: If it is not one that `seal` wrote in this home for this product.
    """
    name = f"The production pointer of {product}"
    if len(document) > MAX_BYTES:
        raise IntegrityError(f"{name} is larger than a pointer can be", _FIX)
    content = canonical.loads(document, name=name)
    try:
        body, mac, keyid = content["pointer"], content["mac"], content["signature"]["keyid"]
        value = base64.b64decode(content["signature"]["sig"], validate=True)
        exact = canonical.dumps(_document(body, mac, keyid, value)) == document
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise IntegrityError(f"{name} is malformed", _FIX) from None
    if not (exact and isinstance(mac, str) and isinstance(keyid, str)):
        raise IntegrityError(f"{name} is not in canonical form", _FIX)
    message = pae(PAYLOAD_TYPE, canonical.dumps(body))
    if not keys.verify_mac(MAC_PURPOSE, message, mac):
        raise IntegrityError(f"{name} does not have our MAC", _FIX)
    keys.verify(message, value, keyid)
    return _parse(body, product, name)


def _parse(body: Any, product: str, name: str) -> Pointer:
    try:
        pointer = Pointer.model_validate(body)
    except ValidationError:
        raise IntegrityError(f"{name} is malformed", _FIX) from None
    if pointer.product != product:
        raise IntegrityError(f"{name} belongs to another product", _FIX)
    return pointer


def _document(body: Any, mac: Any, keyid: Any, signature: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(signature).decode()
    return {"pointer": body, "mac": mac, "signature": {"keyid": keyid, "sig": encoded}}
