"""Outside of the home a package is believed under a trust root, and never under a key that was revoked."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from release_support import Home, build, new_home, patients

from secure_platform import canonical
from secure_platform.control.database import utc_now
from secure_platform.errors import IntegrityError
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.signing import SigningKey, keyid_of
from secure_platform.release.bundle import pae, signer_of
from secure_platform.release.layout import SIGNATURE, attestations_directory
from secure_platform.release.resign import resign
from secure_platform.release.trust import PAYLOAD_TYPE, TrustRoot, read_trust_root, seal, trust_root
from secure_platform.release.verify import authentic_package, signed_manifest, verified


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = new_home(tmp_path / "home")
    build(home, 1, patients=patients(5))
    return home


def root_of(home: Home) -> TrustRoot:
    made = trust_root(
        home.keys, origin=home.audit.origin, environment="production", number=home.audit.size(), now=utc_now()
    )
    return read_trust_root(seal(made, home.keys))


def package(home: Home) -> Path:
    return home.releases / "healthcare" / "1"


def test_a_package_is_verified_without_a_key(home: Home, tmp_path: Path) -> None:
    away = tmp_path / "away" / "healthcare"
    shutil.copytree(home.releases / "healthcare", away)
    found = authentic_package(away / "1", root_of(home), tmp_path / "scratch")
    assert found.digest == canonical.sha256((away / "1/manifest.json").read_bytes())
    payload = next((away / "1/payload").iterdir())
    payload.write_bytes(payload.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="its bytes were changed"):
        authentic_package(away / "1", root_of(home), tmp_path / "scratch")


def test_another_home_is_not_believed(home: Home, tmp_path: Path) -> None:
    other = new_home(tmp_path / "other")
    with pytest.raises(IntegrityError, match="not in the trust root"):
        authentic_package(package(home), root_of(other), tmp_path / "scratch")


def test_a_rotated_key_is_believed_and_a_revoked_one_is_not(home: Home, tmp_path: Path) -> None:
    home.keys.lifecycle.rotate("sign", actor="admin")
    rotated = root_of(home)
    assert [key.not_after is None for key in rotated.keys] == [False, True]
    authentic_package(package(home), rotated, tmp_path / "scratch")
    home.keys.lifecycle.disable("sign", 1, actor="admin")
    revoked = root_of(home)
    assert revoked.number > rotated.number
    assert [key.revoked_at is None for key in revoked.keys] == [False, True]
    with pytest.raises(IntegrityError, match="was revoked"):
        authentic_package(package(home), revoked, tmp_path / "scratch")
    with pytest.raises(IntegrityError, match="is disabled"):
        signed_manifest(package(home), home.keys, home.temporary)


def test_what_was_signed_again_is_the_same_release_and_is_believed(home: Home, tmp_path: Path) -> None:
    before = signed_manifest(package(home), home.keys, home.temporary)
    home.keys.lifecycle.rotate("sign", actor="admin")
    resign(package(home), before, home.keys, home.audit, home.temporary, actor="admin")
    home.keys.lifecycle.disable("sign", 1, actor="admin")
    after = authentic_package(package(home), root_of(home), tmp_path / "scratch")
    assert (after.digest, after.manifest) == (before.digest, before.manifest)
    assert signer_of(after.files[SIGNATURE]) != signer_of(before.files[SIGNATURE])
    with verified(package(home), home.keys, home.temporary):
        pass


def test_what_the_log_does_not_know_is_not_signed_again(home: Home, tmp_path: Path) -> None:
    stolen = new_home(tmp_path / "copy")
    signed = signed_manifest(package(home), home.keys, home.temporary)
    bundle = (attestations_directory(package(home)) / SIGNATURE).read_bytes()
    with pytest.raises(IntegrityError, match="does not know that it was made here"):
        resign(package(home), signed, home.keys, stolen.audit, home.temporary, actor="admin")
    assert (attestations_directory(package(home)) / SIGNATURE).read_bytes() == bundle


def of_another_curve(document: dict[str, Any]) -> None:
    """By a key whose curve no library knows."""
    key = document["trust_root"]["keys"][1]
    lines = key["public_key"].splitlines()
    raw = bytearray(base64.b64decode("".join(lines[1:-1])))
    raw[22] ^= 1
    lines[1:-1] = [base64.b64encode(raw).decode()]
    key["public_key"] = "\n".join(lines) + "\n"
    key["keyid"] = document["signature"]["keyid"] = keyid_of(key["public_key"])


FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a key was added": lambda d: d["trust_root"]["keys"].append(d["trust_root"]["keys"][0]),
    "a revocation was taken back": lambda d: d["trust_root"]["keys"][0].update(revoked_at=None),
    "a member was added": lambda d: d["trust_root"].update(more=1),
    "the number was raised": lambda d: d["trust_root"].update(number=10**6),
    "a key has another name": lambda d: d["trust_root"]["keys"][1].update(keyid="0" * 64),
    "a key is on another curve": of_another_curve,
    "it has no keys": lambda d: d["trust_root"].update(keys=[]),
    "the signature is gone": lambda d: d.pop("signature"),
    "it names no key": lambda d: d["signature"].pop("keyid"),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_trust_root_is_refused(forge: Callable[[dict[str, Any]], object], home: Home) -> None:
    home.keys.lifecycle.rotate("sign", actor="admin")
    home.keys.lifecycle.disable("sign", 1, actor="admin")
    document = json.loads(seal(root_of(home), home.keys))
    forge(document)
    with pytest.raises(IntegrityError):
        read_trust_root(canonical.dumps(document))


def test_a_trust_root_that_a_revoked_key_signed_is_refused(home: Home) -> None:
    old = _signer(home.keys)
    home.keys.lifecycle.rotate("sign", actor="admin")
    home.keys.lifecycle.disable("sign", 1, actor="admin")
    body = root_of(home).model_dump()
    with pytest.raises(IntegrityError, match="was revoked"):
        read_trust_root(old(body))


def _signer(keys: KeyRing) -> Callable[[dict[str, Any]], bytes]:
    """Signs with the key that is newest now, even later: whoever stole it can."""
    key = SigningKey(keys._opened.material(keys._rows.of("sign")[-1]))

    def sign(body: dict[str, Any]) -> bytes:
        signature = key.sign(pae(PAYLOAD_TYPE, canonical.dumps(body)))
        stated = {"keyid": signature.keyid, "sig": base64.b64encode(signature.value).decode()}
        return canonical.dumps({"trust_root": body, "signature": stated})

    return sign
