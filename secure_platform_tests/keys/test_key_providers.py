"""Every provider keeps the same promises, and a ring above any of them is whole or not there."""

import base64
import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TypeAlias, cast

import pytest
from key_places import ADMIN, Interrupted, Place
from key_servers import AwsServer, Tenant, VaultServer
from provider_document import installed

from secure_platform.errors import IntegrityError, SecurePlatformError, ServiceError, UsageError
from secure_platform.key_settings import KeySettings
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.aws import AwsKeyProvider
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.keys.providers.choice import open_provider
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.providers.vault import VaultKeyProvider
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.signing import verify_pem

CONTEXT = {"name": "data", "version": "1", "algorithm": "AES-256-GCM"}
PROVIDERS = ["local", "vault", "aws", "hsm"]
Open: TypeAlias = Callable[[], KeyProvider]


@pytest.fixture
def tenant(vault_server: VaultServer, tmp_path: Path) -> Tenant:
    return vault_server.tenant(tmp_path)


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[ModuleType]:
    """The package of the document, installed."""
    with installed(tmp_path / "site") as module:
        yield module


@pytest.fixture(params=PROVIDERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens one and the same provider, each time as another process would."""
    if request.param == "hsm":
        module = request.getfixturevalue("acme")
        return lambda: cast("KeyProvider", module.open_hsm({"key": "00" * 32}))
    if request.param == "local":
        LocalKeyProvider.create(tmp_path / "keys")
        return lambda: LocalKeyProvider.open(tmp_path / "keys")
    if request.param == "vault":
        tenant: Tenant = request.getfixturevalue("tenant")
        settings = tenant.settings.model_copy(update={"signing_key": f"{tenant.name}-sign"})
        return lambda: VaultKeyProvider(VaultSession(settings))
    server: AwsServer = request.getfixturevalue("moto_server")
    request.getfixturevalue("aws_credentials")
    keys = server.settings().model_copy(update={"signing_key_id": server.signing_key()})
    return lambda: AwsKeyProvider(AwsSession(keys))


@pytest.fixture
def home(tmp_path: Path) -> Place:
    return Place.new(tmp_path)


def test_what_was_wrapped_opens_in_every_process_of_its_context(opened: Open) -> None:
    plaintext, wrapped = opened().generate(CONTEXT)
    assert len(plaintext) == 32
    assert opened().unwrap(wrapped, context=CONTEXT) == plaintext
    long = bytes(range(256)) * 8
    assert opened().unwrap(opened().wrap(long, context=CONTEXT), context=CONTEXT) == long
    assert opened().generate(CONTEXT) != opened().generate(CONTEXT)


@pytest.mark.parametrize(
    "context", [{}, {**CONTEXT, "version": "2"}, {**CONTEXT, "more": ""}, {"name": "data"}], ids=repr
)
def test_another_context_opens_nothing(opened: Open, context: Mapping[str, str]) -> None:
    wrapped = opened().wrap(b"secret", context=CONTEXT)
    for attempt in (opened().unwrap, opened().rewrap):
        with pytest.raises(IntegrityError):
            attempt(wrapped, context=context)


def test_nothing_that_was_changed_opens(opened: Open) -> None:
    provider = opened()
    wrapped = provider.wrap(b"secret", context=CONTEXT)
    changed = [wrapped[:-8], wrapped + b"A", b"", b"x", b"vault:v1:", b"vault:v1:AAAA", wrapped[:20] * 3]
    if provider.name == "vault":
        body = bytearray(base64.b64decode(wrapped.rpartition(b":")[2]))
        for at in (0, len(body) // 2, len(body) - 1):
            other = bytearray(body)
            other[at] ^= 1
            changed.append(b"vault:v1:" + base64.b64encode(other))
    else:
        changed += [wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :] for at in (-1, -20)]
    for each in changed:
        with pytest.raises(SecurePlatformError):
            provider.unwrap(each, context=CONTEXT)


def test_rewrapping_keeps_the_secret(opened: Open) -> None:
    provider = opened()
    plaintext, wrapped = provider.generate(CONTEXT)
    again = provider.rewrap(wrapped, context=CONTEXT)
    assert again != wrapped
    assert provider.unwrap(again, context=CONTEXT) == provider.unwrap(wrapped, context=CONTEXT) == plaintext


def test_a_provider_is_not_copied_and_shows_nothing(opened: Open) -> None:
    provider = opened()
    provider.wrap(b"canary-secret", context=CONTEXT)
    with pytest.raises(UsageError, match="cannot be pickled"):
        copy.deepcopy(provider)
    assert "canary" not in repr(vars(provider))


def test_a_ring_is_made_once_and_opens_in_the_next_process(opened: Open, home: Place) -> None:
    ring = home.keys(opened()).ring
    ring.initialise()
    made = ring.new_data_key({"snapshot_id": "1"})
    signature = ring.sign(b"a release")
    token = ring.token_key("patient")
    later = home.keys(opened()).ring
    assert later.initialise() == []
    assert later.open_data_key(made.wrapped, {"snapshot_id": "1"}) == made.plaintext
    assert later.token_key("patient") == token
    later.verify(b"a release", signature.value, signature.keyid)
    held = {each.name: each.reference for each in later.versions() if each.reference}
    assert set(held) == ({"sign"} if opened().name in {"vault", "aws"} else set())


def go_away() -> None:
    raise ServiceError("The service is away", "Try again.")


def test_a_provider_that_goes_away_at_any_call_leaves_a_ring_that_is_completed(
    tmp_path: Path, home: Place
) -> None:
    provider = LocalKeyProvider.create(tmp_path / "keys")
    stopped = 0
    for call in range(1, 64):
        try:
            home.keys(Interrupted(provider, call, go_away)).ring.initialise()
        except ServiceError:
            stopped += 1
        else:
            break
    assert stopped >= 5
    ring = home.keys(provider).ring
    assert ring.initialise() == []
    assert ring.open_data_key(ring.new_data_key(CONTEXT).wrapped, CONTEXT)
    assert len(home.rows()) == len({each.name for each in ring.versions()})


class TestVault:
    """What only Vault can do, or get wrong."""

    @pytest.fixture
    def provider(self, tenant: Tenant) -> VaultKeyProvider:
        settings = tenant.settings.model_copy(update={"signing_key": f"{tenant.name}-sign"})
        return VaultKeyProvider(VaultSession(settings))

    def test_its_key_is_rotated_while_it_is_in_use(self, provider: VaultKeyProvider, tenant: Tenant) -> None:
        old = provider.wrap(b"secret", context=CONTEXT)
        transit = tenant.admin.secrets.transit
        transit.rotate_key(tenant.name)
        new = provider.wrap(b"secret", context=CONTEXT)
        assert (old[:9], new[:9]) == (b"vault:v1:", b"vault:v2:")
        assert provider.unwrap(old, context=CONTEXT) == b"secret"
        rewrapped = provider.rewrap(old, context=CONTEXT)
        assert rewrapped.startswith(b"vault:v2:")
        transit.update_key_configuration(tenant.name, min_decryption_version=2)
        assert provider.unwrap(rewrapped, context=CONTEXT) == b"secret"
        with pytest.raises(ServiceError, match=r"no longer opens versions this old.*keys rewrap"):
            provider.unwrap(old, context=CONTEXT)

    def test_a_version_that_signs_goes_on_after_a_rotation(
        self, provider: VaultKeyProvider, tenant: Tenant
    ) -> None:
        first = provider.signer()
        assert first is not None
        tenant.admin.secrets.transit.rotate_key(f"{tenant.name}-sign")
        second, old = provider.signer(), provider.signer(first.reference)
        assert second is not None
        assert old is not None
        assert (first.reference, second.reference) == (f"{tenant.name}-sign:1", f"{tenant.name}-sign:2")
        assert first.public_key_pem == old.public_key_pem != second.public_key_pem
        verify_pem(first.public_key_pem, b"message", old.sign(b"message").value)
        verify_pem(second.public_key_pem, b"message", second.sign(b"message").value)

    @pytest.mark.usefixtures("aws_credentials")
    def test_another_provider_does_not_sign_with_its_key(
        self, provider: VaultKeyProvider, home: Place, moto_server: AwsServer
    ) -> None:
        ring = home.keys(provider).ring
        ring.initialise()
        settings = moto_server.settings().model_copy(update={"signing_key_id": moto_server.signing_key()})
        aws = AwsKeyProvider(AwsSession(settings))
        ring.lifecycle.rewrap(actor=ADMIN, to=aws)
        moved = home.keys(aws).ring
        with pytest.raises(IntegrityError, match=r"held by vault.*keys rotate sign"):
            moved.sign(b"message")
        assert list(moved.broken()) == ["Version 1 of key 'sign'"]
        moved.lifecycle.rotate("sign", actor=ADMIN)
        assert moved.sign(b"message")
        assert moved.broken() == {}

    def test_a_key_of_another_kind_does_not_sign(self, tenant: Tenant) -> None:
        tenant.admin.secrets.transit.create_key(f"{tenant.name}-sign-ed", key_type="ed25519")
        tenant.allow('path "transit/keys/*" { capabilities = ["read"] }')
        settings = tenant.settings.model_copy(update={"signing_key": f"{tenant.name}-sign-ed"})
        with pytest.raises(ServiceError, match="ecdsa-p256"):
            VaultKeyProvider(VaultSession(settings)).signer()

    def test_a_ring_stops_while_vault_is_sealed_and_goes_on_after(
        self, provider: VaultKeyProvider, tenant: Tenant, home: Place, vault_server: VaultServer
    ) -> None:
        home.keys(provider).ring.initialise()
        wrapped = home.keys(provider).ring.new_data_key(CONTEXT).wrapped
        rows, fresh = home.rows(), home.keys(VaultKeyProvider(VaultSession(tenant.settings))).ring
        with vault_server.sealed():
            with pytest.raises(ServiceError, match="Unseal it"):
                fresh.open_data_key(wrapped, CONTEXT)
            with pytest.raises(ServiceError, match="Unseal it"):
                fresh.token_key("patient")
        assert home.rows() == rows
        assert fresh.open_data_key(wrapped, CONTEXT)
        assert fresh.token_key("patient")

    def test_a_key_is_opened_once_per_process(
        self, provider: VaultKeyProvider, tenant: Tenant, home: Place, vault_server: VaultServer
    ) -> None:
        home.keys(provider).ring.initialise()
        ring = home.keys(provider).ring
        before = len(vault_server.requests("transit/"))
        for _ in range(50):
            ring.open_data_key(ring.new_data_key(CONTEXT).wrapped, CONTEXT)
            ring.verify_mac("p", b"m", ring.mac("p", b"m"))
        opened = vault_server.requests("transit/")[before:]
        assert len(opened) <= len(ring.versions())
        assert set(opened) == {f"transit/decrypt/{tenant.name}"}


@pytest.mark.usefixtures("aws_credentials")
def test_a_signature_that_does_not_fit_is_not_given_out(moto_server: AwsServer, home: Place) -> None:
    """moto signs the digest of a digest, which only messages over 4096 bytes meet."""
    settings = moto_server.settings().model_copy(update={"signing_key_id": moto_server.signing_key()})
    ring = home.keys(AwsKeyProvider(AwsSession(settings))).ring
    ring.initialise()
    assert ring.sign(b"m" * 4096)
    with pytest.raises(IntegrityError, match="does not fit"):
        ring.sign(b"m" * 4097)


def choose(name: str, directory: Path) -> KeyProvider:
    settings = KeySettings(provider=name, options={"key": "00" * 32})
    return open_provider(settings, directory, vault=pytest.fail, aws=pytest.fail)


@pytest.mark.usefixtures("acme")
def test_a_provider_of_another_package_is_chosen_by_its_name(tmp_path: Path) -> None:
    provider = choose("hsm", tmp_path)
    assert provider.name == "hsm"
    assert provider.unwrap(provider.wrap(b"s", context=CONTEXT), context=CONTEXT) == b"s"


def test_a_provider_that_nobody_brings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No installed package brings the key provider 'hsm'"):
        choose("hsm", tmp_path)


@pytest.mark.usefixtures("acme")
def test_a_provider_that_calls_itself_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="calls itself 'hsm'"):
        choose("other", tmp_path)
