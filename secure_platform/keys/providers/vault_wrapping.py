"""A secret id may come wrapped: as a token that gives it out once, so that a thief on the way is found out.

It is opened once, under a lock, and kept for the processes that follow in a 0600 file beside the token. A
token that was opened already, or that wraps something else, is an alarm and not a mistake to be tried again.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from secure_platform.control.locks import file_lock
from secure_platform.errors import SecurePlatformError, ServiceError
from secure_platform.files import replace_private
from secure_platform.key_settings import VaultSettings
from secure_platform.keys.providers.vault_errors import Refusal
from secure_platform.keys.secret_file import read_secret
from secure_platform.keys.secrets.opening import read_opening
from secure_platform.secret_reference import SecretReference

_LARGEST: Final = 4096
Ask: TypeAlias = Callable[[str, str, Mapping[str, str]], dict[str, Any]]


def opened_secret_id(settings: VaultSettings, ask: Ask) -> str:
    """The secret id that the wrapping token stands for.

    Args:
        settings: Name the token's file; beside it lies what it held.
        ask: Posts to Vault: with a token or none, to a path, a body.

    Raises:
        ServiceError: If the token was opened by somebody else, or does not come from the role's login.
    """
    token = read_opening(settings.secret_id).line
    kept = Path(f"{SecretReference.parse(settings.secret_id).path}.opened")
    with file_lock(kept.with_suffix(".lock"), holder=f"the wrapped secret id {kept.stem}"):
        known = _known(kept, token)
        if known is None:
            known = _open(settings, token, ask)
            document = {"token": _digest(token), "secret_id": known}
            replace_private(kept, json.dumps(document).encode())
    return known


def _known(kept: Path, token: str) -> str | None:
    """What this token held, if we opened it ourselves."""
    try:
        document = json.loads(read_secret(kept, name="The opened secret id", limit=_LARGEST))
        same = hmac.compare_digest(str(document["token"]), _digest(token))
        return str(document["secret_id"]) if same else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _open(settings: VaultSettings, token: str, ask: Ask) -> str:
    try:
        origin = str(ask("", "sys/wrapping/lookup", {"token": token})["data"]["creation_path"])
    except Refusal as refusal:
        raise _refused(refusal, "was opened already, expired, or was never one") from None
    # Somebody who took the token could have put one in its place that wraps a secret id of theirs.
    if not re.fullmatch(rf"auth/{re.escape(settings.auth_mount)}/role/[^/]+/secret-id", origin):
        raise _alarm("does not come from the login of this platform's role")
    try:
        return str(ask(token, "sys/wrapping/unwrap", {})["data"]["secret_id"])
    except Refusal as refusal:
        raise _refused(refusal, "was opened by somebody else meanwhile") from None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _refused(refusal: Refusal, what: str) -> SecurePlatformError:
    return refusal.explained() if refusal.is_passing else _alarm(what)


def _alarm(what: str) -> ServiceError:
    return ServiceError(
        f"ALARM: the wrapping token of the secret id {what}; unless this platform was stopped while "
        "opening it, somebody else has the secret id",
        "Revoke the role's secret ids, look for their use in Vault's audit log, then deliver a new one.",
    )
