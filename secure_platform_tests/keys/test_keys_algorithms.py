"""One table rules which algorithm makes, opens or is refused; what the product imports is in it."""

import re
from pathlib import Path
from types import MappingProxyType

import pytest
from keys_support import CONTEXT, Home, migrate

import secure_platform
from secure_platform.control.database import ControlDatabase
from secure_platform.errors import UsageError
from secure_platform.keys import algorithms
from secure_platform.keys.algorithms import POLICY, Algorithm, Standing, require_making, require_opening
from secure_platform.keys.catalog import ALGORITHMS
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider

PRODUCT = Path(secure_platform.__file__).parent
# What the source code says where it uses an algorithm → how the table calls it.
SAID = {
    r"\bAESGCM\b": "AES-256-GCM",
    r"\bAESSIV\b": "AES-256-SIV",
    r"\bHKDF\b": "HKDF-SHA-256",
    r"\bScrypt\b|hashlib\.scrypt": "scrypt",
    r"\bEd25519PrivateKey\b": "Ed25519",
    r"\bec\.ECDSA\b": "ECDSA-P256-SHA-256",
    r"\bargon2\b": "Argon2id",
    r'"sha1"|\bSHA1\b|hashlib\.sha1': "HMAC-SHA-1",
    r"\bsha256\b": "SHA-256",
    r"hmac\.digest\(|hmac\.new\(": "HMAC-SHA-256",
    r"\bFF3\b|\bff3\b": "FF3-1",
    r"TripleDES|\b3DES\b|\bDES3\b": "3DES",
    r"\bTLSv1_3\b": "TLS 1.3",
    r"\bTLSv1_2\b": "TLS 1.2",
}
NEVER = r"\b(md5|MD5|RC4|ARC4|Blowfish|modes\.ECB|modes\.CBC|TLSv1_1|SSLv23|PROTOCOL_TLSv1)\b"


def sources() -> list[tuple[str, str]]:
    files = sorted(PRODUCT.rglob("*.py"))
    return [(path.name, path.read_text("utf-8")) for path in files if path.name != "algorithms.py"]


def test_what_the_product_uses_is_in_the_table_and_not_retired() -> None:
    used = {name for _, text in sources() for said, name in SAID.items() if re.search(said, text)}
    assert {"AES-256-GCM", "HKDF-SHA-256", "Ed25519", "ECDSA-P256-SHA-256", "Argon2id", "scrypt"} <= used
    assert {name for name in used if POLICY[name].standing is not Standing.MAKES} == set()
    assert [name for name, text in sources() if re.search(NEVER, text)] == []


def test_every_entry_says_what_for_and_where_it_is_written() -> None:
    for name, found in POLICY.items():
        assert found.name == name
        assert found.used_for
        assert re.search(r"NIST|FIPS|RFC", found.source)
        assert not (found.fips and found.standing is Standing.RETIRED)


def test_keys_are_of_algorithms_that_make() -> None:
    for name in ALGORITHMS.values():
        require_making(name, fips=False)
    assert {kind for kind, name in ALGORITHMS.items() if not POLICY[name].fips} == {"cell"}


@pytest.mark.parametrize("name", ["FF3-1", "3DES", "ECDSA-P256-SHA-1", "", "rot13", "aes-256-gcm"])
def test_what_is_retired_or_unknown_neither_makes_nor_opens(name: str) -> None:
    for require in (require_making, require_opening):
        for fips in (True, False):
            with pytest.raises(UsageError, match="is refused"):
                require(name, fips=fips)


@pytest.mark.parametrize("name", [name for name, found in POLICY.items() if found.standing is Standing.MAKES])
def test_fips_refuses_what_is_not_approved(name: str) -> None:
    for require in (require_making, require_opening):
        require(name, fips=False)
        if POLICY[name].fips:
            require(name, fips=True)
        else:
            with pytest.raises(UsageError, match=r"not approved by FIPS 140-3.*keys\.fips"):
                require(name, fips=True)


def with_standing(monkeypatch: pytest.MonkeyPatch, name: str, standing: Standing) -> None:
    was = POLICY[name]
    now = Algorithm(was.name, was.used_for, standing, was.fips, was.source)
    monkeypatch.setattr(algorithms, "POLICY", MappingProxyType({**POLICY, name: now}))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, migrate(tmp_path / "migrated.db"))


def test_a_ring_makes_no_key_of_an_algorithm_that_only_opens(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = home.ring.new_data_key(CONTEXT).wrapped
    with_standing(monkeypatch, "AES-256-GCM", Standing.OPENS)
    with pytest.raises(UsageError, match="AES-256-GCM only opens what exists"):
        home.ring.lifecycle.rotate("data", actor="admin")
    assert home.reopened().open_data_key(wrapped, CONTEXT)


def test_a_ring_opens_no_key_of_a_retired_algorithm(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = home.ring.new_data_key(CONTEXT).wrapped
    with_standing(monkeypatch, "AES-256-GCM", Standing.RETIRED)
    with pytest.raises(UsageError, match="'AES-256-GCM' is refused"):
        home.reopened().open_data_key(wrapped, CONTEXT)


def test_with_fips_a_home_has_every_key_but_those_of_cells(home: Home) -> None:
    home.ring.cell_key("old")
    provider = LocalKeyProvider.open(home.directory / "keys")
    database = ControlDatabase.at(home.directory / "control.db")
    ring = HomeKeys(provider, database, home.directory / "audit.db", fips=True).ring
    ring.new_data_key(CONTEXT)
    ring.token_key("patient")
    ring.sign(b"m")
    for domain in ("old", "new"):
        with pytest.raises(UsageError, match="AES-256-SIV is not approved"):
            ring.cell_key(domain)
        with pytest.raises(UsageError, match="AES-256-SIV is not approved"):
            ring.token_version(f"cell/{domain}")
    assert ring.token_version("patient") == 1
    assert {key.name for key in ring.versions() if key.kind == "cell"} == {"cell/old"}
