"""A notice, and a channel to send it to a server on loopback."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from secure_platform.keys.secrets.opening import FileSecrets
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.notify.notice import Notice
from secure_platform.site import ChannelSettings

SECRETS = Secrets({"file": FileSecrets}, ttl_seconds=0)
NOTICE = Notice(
    notice_id="0123456789abcdef0123456789abcdef",
    event="release.pending",
    occurred_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
    environment="production",
    product="healthcare",
    release="sha256:" + "a" * 64,
    number=7,
    ticket="CHG0030192",
    link="https://data.example.org/approvals/sha256:" + "a" * 64,
)


def channel(
    directory: Path, kind: str, url: str, *, secret: str | None = "s3cret", **given: Any
) -> ChannelSettings:
    """A channel that may reach loopback, with its secret in a private file."""
    path = directory / f"{kind}.secret"
    path.write_text(f"{secret}\n")
    path.chmod(0o600)
    reference = None if secret is None else f"secret://file/{path}"
    settings = {"name": kind, "kind": kind, "url": url, "secret": reference, "allow": ("127.0.0.0/8",)}
    return ChannelSettings.model_validate(settings | given)
