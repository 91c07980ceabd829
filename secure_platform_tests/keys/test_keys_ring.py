"""What the ring makes opens and verifies for the right context and purpose, and for nothing else."""

import base64
import hmac
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keys_support import CONTEXT, Home, migrate

from secure_platform.audit.log import AuditLog
from secure_platform.errors import IntegrityError
from secure_platform.keys.catalog import domain_of_name, name_of_domain
from secure_platform.keys.envelope import Envelope, commitment
from secure_platform.keys.material import derive
from secure_platform.keys.signing import keyid_of
from secure_platform.keys.wrapped import WrappedDataKey


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Home:
    return Home(tmp_path, migrated)


def test_a_data_key_opens_under_its_context_in_any_order(home: Home) -> None:
    key = home.ring.new_data_key(CONTEXT)
    assert len(key.plaintext) == 32
    assert home.ring.open_data_key(key.wrapped, dict(reversed(CONTEXT.items()))) == key.plaintext


def test_data_keys_are_all_different(home: Home) -> None:
    assert len({home.ring.new_data_key(CONTEXT).plaintext for _ in range(20)}) == 20


def test_every_other_context_is_refused(home: Home) -> None:
    wrapped = home.ring.new_data_key(CONTEXT).wrapped
    others = [{**CONTEXT, name: value + "x"} for name, value in CONTEXT.items()]
    others += [{name: value for name, value in CONTEXT.items() if name != dropped} for dropped in CONTEXT]
    others += [{}, {**CONTEXT, "more": ""}, {**CONTEXT, "product": "patients", "dataset": "healthcare"}]
    for context in others:
        with pytest.raises(IntegrityError, match="does not authenticate"):
            home.ring.open_data_key(wrapped, context)


def test_every_flipped_bit_of_a_wrapped_data_key_is_refused(home: Home) -> None:
    raw = base64.b64decode(home.ring.new_data_key(CONTEXT).wrapped)
    for position in range(len(raw)):
        broken = bytearray(raw)
        broken[position] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            home.ring.open_data_key(base64.b64encode(broken).decode(), CONTEXT)


def test_every_changed_character_of_a_wrapped_data_key_is_refused(home: Home) -> None:
    """Base64 has spare bits at its end: a decoder that ignores them accepts several texts for one key."""
    wrapped = home.ring.new_data_key(CONTEXT).wrapped
    for position, character in enumerate(wrapped):
        for other in {"A", "B", "f", "9", "/", "=", "\n"} - {character}:
            with pytest.raises(IntegrityError):
                home.ring.open_data_key(wrapped[:position] + other + wrapped[position + 1 :], CONTEXT)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.binary(max_size=120).map(lambda raw: base64.b64encode(raw).decode()))
def test_garbage_in_place_of_a_wrapped_data_key_is_refused(home: Home, text: str) -> None:
    with pytest.raises(IntegrityError):
        home.ring.open_data_key(text, CONTEXT)


def test_truncated_and_extended_wrapped_data_keys_are_refused(home: Home) -> None:
    raw = base64.b64decode(home.ring.new_data_key(CONTEXT).wrapped)
    for broken in [raw[:length] for length in range(len(raw))] + [raw + b"\0", raw + raw]:
        with pytest.raises(IntegrityError):
            home.ring.open_data_key(base64.b64encode(broken).decode(), CONTEXT)


@pytest.mark.parametrize("name", ["token", "mac", "DATA", "root", ""])
def test_another_wrapping_key_name_is_refused(home: Home, name: str) -> None:
    raw = base64.b64decode(home.ring.new_data_key(CONTEXT).wrapped)
    renamed = raw[:5] + bytes([len(name)]) + name.encode() + raw[10:]
    with pytest.raises(IntegrityError, match="names a wrapping key that is not one"):
        home.ring.open_data_key(base64.b64encode(renamed).decode(), CONTEXT)


def test_an_unknown_wrapping_version_is_refused(home: Home) -> None:
    raw = base64.b64decode(home.ring.new_data_key(CONTEXT).wrapped)
    for version in (0, 2, 2**32 - 1):
        changed = raw[:10] + version.to_bytes(4, "big") + raw[14:]
        with pytest.raises(IntegrityError, match=f"no version {version} of key 'data'"):
            home.ring.open_data_key(base64.b64encode(changed).decode(), CONTEXT)


def test_a_wrapped_key_is_not_accepted_under_another_version_of_the_same_material(home: Home) -> None:
    material = home.material("data")
    wrapped = home.ring.new_data_key(CONTEXT).wrapped
    home.add_version("data", 2, material)
    raw = base64.b64decode(wrapped)
    moved = base64.b64encode(raw[:10] + (2).to_bytes(4, "big") + raw[14:]).decode()
    assert home.ring.open_data_key(wrapped, CONTEXT)
    with pytest.raises(IntegrityError, match="does not authenticate"):
        home.ring.open_data_key(moved, CONTEXT)


def test_a_wrapped_key_that_lies_about_which_key_it_holds_is_refused(home: Home) -> None:
    """Made by somebody who has the wrapping key: the commitment beside it still names the key in it."""
    material = home.material("data")
    header = WrappedDataKey("data", 1, commitment(b"\1" * 32))
    sealed = Envelope(material).seal(b"\2" * 32, header.associated(CONTEXT))
    with pytest.raises(IntegrityError, match="holds another key than it says"):
        home.ring.open_data_key(replace(header, sealed=sealed).encode(), CONTEXT)


# --- MACs, digests, identities, tokens ---


def test_mac_form_and_verification(home: Home) -> None:
    mac = home.ring.mac("sidecar", b"message")
    assert mac.startswith("m1:")
    assert len(mac) == 3 + 64
    assert home.ring.verify_mac("sidecar", b"message", mac)
    assert not home.ring.verify_mac("pointer", b"message", mac)
    assert not home.ring.verify_mac("sidecar", b"messagf", mac)


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda mac: mac[:-1],
        lambda mac: mac + "0",
        lambda mac: mac + "\n",
        lambda mac: " " + mac,
        lambda mac: mac.replace("m1", "m01"),
        lambda mac: mac.replace("m1", "m2"),
        lambda mac: mac.replace("m1", "m0"),
        lambda mac: mac.replace("m1", "m-1"),
        lambda mac: mac.replace("m1", "m99999999999999999999"),
        lambda mac: mac.replace("m1", "m\u0661"),
        lambda mac: mac[3:],
        lambda _: "",
        lambda _: "m1:" + "\u0660" * 64,
    ],
)
def test_malformed_macs_are_wrong(home: Home, change: Callable[[str], str]) -> None:
    assert not home.ring.verify_mac("p", b"m", change(home.ring.mac("p", b"m")))


def test_every_changed_digit_of_a_mac_is_wrong(home: Home) -> None:
    mac = home.ring.mac("p", b"m")
    for position in range(3, len(mac)):
        other = "0" if mac[position] != "0" else "1"
        assert not home.ring.verify_mac("p", b"m", mac[:position] + other + mac[position + 1 :])


def test_derivations_are_the_documented_ones(home: Home) -> None:
    """From known material, by hand: these values are stored, so they may never change."""
    material = bytes(range(32))
    home.ring.token_key("patient")
    home.ring.cell_key("patient")
    for name in ("mac", "digest", "token/patient", "cell/patient"):
        home.add_version(name, 2, material)
    mac = hmac.digest(derive(material, "mac|sidecar"), b"message", "sha256").hex()
    assert home.ring.mac("sidecar", b"message") == f"m2:{mac}"
    assert home.ring.digest_key("content").key == derive(material, "digest|content")
    assert home.ring.cell_key("patient").key == derive(material, "cell|patient", 64)
    assert home.ring.token_key("patient").key == derive(material, "token|patient")
    person = hmac.digest(derive(material, "identify"), b"alice", "sha256").hex()[:32]
    assert home.ring.identify("alice") == f"p:{person}"


def test_purposes_and_domains_are_separate(home: Home) -> None:
    ring = home.ring
    derived = [
        ring.digest_key("a").key,
        ring.digest_key("b").key,
        ring.token_key("a").key,
        ring.token_key("b").key,
        ring.cell_key("a").key[:32],
        ring.cell_key("a").key[32:],
        ring.cell_key("b").key[:32],
    ]
    assert len(set(derived)) == len(derived)
    assert ring.mac("a", b"m") != ring.mac("b", b"m")


def test_identify_is_stable_and_hides(home: Home) -> None:
    names = [home.ring.identify(name) for name in ("alice", "alice", "Alice", "bob", "", "ältere")]
    assert names[0] == names[1]
    assert len(set(names)) == 5
    assert all(len(name) == 34 and name.startswith("p:") for name in names)


def test_token_keys_follow_versions(home: Home) -> None:
    first = home.ring.token_key("patient")
    home.add_version("token/patient", 2, bytes(range(32)))
    home.set_state("token/patient", 1, "decrypt-only")
    second = home.ring.token_key("patient")
    assert (first.version, second.version, home.ring.token_version("patient")) == (1, 2, 2)
    assert first.key != second.key
    assert home.ring.token_key("patient", 1) == first
    for unknown in (0, 3, -1):
        with pytest.raises(IntegrityError, match="no version"):
            home.ring.token_key("patient", unknown)


# --- signatures ---


def test_a_signature_verifies_until_a_bit_of_it_or_of_the_message_changes(home: Home) -> None:
    signature = home.ring.sign(b"manifest")
    pem = home.ring.public_key_pem(signature.keyid)
    assert signature.keyid == keyid_of(pem)
    assert len(signature.keyid) == 64
    home.ring.verify(b"manifest", signature.value, signature.keyid)
    with pytest.raises(IntegrityError, match="does not fit"):
        home.ring.verify(b"manifesT", signature.value, signature.keyid)
    for position in range(len(signature.value)):
        broken = bytearray(signature.value)
        broken[position] ^= 1
        with pytest.raises(IntegrityError):
            home.ring.verify(b"manifest", bytes(broken), signature.keyid)


@pytest.mark.parametrize("keyid", ["", "0" * 64, "ключ", "m1"])
def test_a_signature_of_an_unknown_key_is_refused(home: Home, keyid: str) -> None:
    signature = home.ring.sign(b"m")
    for name in (keyid, signature.keyid.upper(), signature.keyid[:-1]):
        with pytest.raises(IntegrityError, match="not one of this home's signing keys"):
            home.ring.verify(b"m", signature.value, name)
        with pytest.raises(IntegrityError, match="not one of this home's signing keys"):
            home.ring.public_key_pem(name)


def test_a_public_key_that_was_slipped_into_the_database_is_not_trusted(home: Home) -> None:
    forger = ec.generate_private_key(ec.SECP256R1())
    pem = forger.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    genuine = home.ring.sign(b"m")
    home.set("sign", public_key=pem)
    with pytest.raises(IntegrityError, match="as the audit log recorded it last"):
        home.ring.verify(b"m", b"", keyid_of(pem))
    with pytest.raises(IntegrityError, match="as the audit log recorded it last"):
        home.ring.sign(b"m")
    with pytest.raises(IntegrityError):
        home.ring.verify(b"m", genuine.value, genuine.keyid)


def test_a_signing_key_of_another_kind_is_refused(home: Home) -> None:
    keys: tuple[ec.EllipticCurvePrivateKey | Ed25519PrivateKey, ...] = (
        ec.generate_private_key(ec.SECP384R1()),
        Ed25519PrivateKey.generate(),
    )
    for version, key in enumerate(keys, 2):
        material = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        home.add_version("sign", version, material)
        with pytest.raises(IntegrityError, match="not a P-256 key"):
            home.ring.sign(b"m")


def test_the_audit_log_is_signed_and_identified_by_the_ring(home: Home) -> None:
    name = "secure-platform/test"
    log = AuditLog(
        home.directory / "audit.db",
        origin=name,
        signer=home.ring.log_signer(name),
        identify=home.ring.identify,
    )
    log.append("key.create", actor="alice", subject="data")
    note = log.checkpoint()
    log.close()
    ring = home.reopened()
    reopened = AuditLog(
        home.directory / "audit.db", origin=name, signer=ring.log_signer(name), identify=ring.identify
    )
    reopened.verify([note])
    assert reopened.tail(1)[0].body["actor"] == home.ring.identify("alice")
    reopened.close()


@pytest.mark.parametrize(
    ("domain", "name"),
    [("patient", "token/patient"), ("fpe:a.b.c", "token/fpe:a.b.c"), ("cell/patient", "cell/patient")],
)
def test_a_domain_of_a_plan_is_one_of_tokens_unless_it_says_of_cells(domain: str, name: str) -> None:
    assert name_of_domain(domain) == name
    assert domain_of_name(name) == domain


def test_a_plan_asks_for_the_version_of_either_kind_of_key(home: Home) -> None:
    assert [home.ring.token_version(domain) for domain in ("patient", "cell/patient")] == [1, 1]
    home.ring.token_key("patient")
    home.ring.cell_key("patient")
    home.ring.lifecycle.rotate("cell/patient", actor="admin")
    assert [home.ring.token_version(domain) for domain in ("patient", "cell/patient")] == [1, 2]
