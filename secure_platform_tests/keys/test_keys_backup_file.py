"""The file of a backup opens with its passphrase only, and tells what is wrong with it."""

import hashlib
import json
import pickle
from datetime import UTC, datetime

import pytest

from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.backup import MAGIC, BackedKey, Backup, open_backup, seal_backup
from secure_platform.keys.passphrase import LEAST_N, MOST_N, Stretching

PASSPHRASE = b"slow brass otter 9 kites"
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
MATERIAL, ROOT = b"M" * 32, b"R" * 32
KEYS = (
    BackedKey("data", 1, "AES-256-GCM", "decrypt-only", "local", None, None, NOW, MATERIAL),
    BackedKey("data", 2, "AES-256-GCM", "active", "local", None, None, NOW, MATERIAL[::-1]),
    BackedKey("token/patient", 1, "HKDF-SHA-256", "destroyed", "local", None, None, NOW, None),
)
BACKUP = Backup(NOW, "production", "secure-platform/abc\n3\nroot\n", ROOT, KEYS)


@pytest.fixture(scope="module")
def file() -> bytes:
    return seal_backup(BACKUP, PASSPHRASE)


def resummed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def test_a_backup_opens_with_its_passphrase(file: bytes) -> None:
    assert open_backup(file, PASSPHRASE, name="b") == BACKUP
    assert BACKUP.newest() == {"data": 2, "token/patient": 1}


def test_nothing_of_it_is_in_sight(file: bytes) -> None:
    for secret in (MATERIAL, ROOT, b"TU1NTU", b"token/patient", b"secure-platform/abc", PASSPHRASE):
        assert secret not in file
    assert "MMMM" not in repr(BACKUP)
    assert "RRRR" not in repr(BACKUP)
    for holder in (BACKUP, KEYS[0]):
        with pytest.raises(UsageError, match="holds key material"):
            pickle.dumps(holder)


def test_another_passphrase_says_so(file: bytes) -> None:
    for wrong in (b"", PASSPHRASE + b"\n", PASSPHRASE.upper()):
        with pytest.raises(UsageError, match="The passphrase does not open b"):
            open_backup(file, wrong, name="b")


def test_a_cut_or_changed_file_is_told_from_a_wrong_passphrase(file: bytes) -> None:
    damaged = [file[:-1], file[: len(file) // 2], file[: len(MAGIC)], file + b"\n"]
    damaged += [
        file[:place] + bytes([file[place] ^ 1]) + file[place + 1 :]
        for place in range(len(MAGIC), len(file), 37)
    ]
    for content in damaged:
        with pytest.raises(IntegrityError, match="cut off or damaged"):
            open_backup(content, PASSPHRASE, name="b")
    assert len(damaged) > 20
    for content in (b"", b"x" * 400, file[1:], b"secure-platform/key-backup/v2\n" + file[len(MAGIC) :]):
        with pytest.raises(IntegrityError, match="is not a backup of keys"):
            open_backup(content, PASSPHRASE, name="b")


def test_a_sum_that_was_made_anew_does_not_help(file: bytes) -> None:
    body = file[:-32]
    changed = resummed(body[:-40] + bytes([body[-40] ^ 1]) + body[-39:])
    with pytest.raises(IntegrityError, match="does not authenticate"):
        open_backup(changed, PASSPHRASE, name="b")


@pytest.mark.parametrize(
    "change",
    [
        {"n": LEAST_N // 2},
        {"n": MOST_N * 2},
        {"n": LEAST_N + 1},
        {"n": True},
        {"n": -LEAST_N},
        {"r": 1},
        {"r": 64},
        {"p": 0},
        {"p": 64},
        {"salt": "00"},
        {"salt": "zz" * 32},
        {"salt": 7},
        {"kdf": "pbkdf2"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_cost_that_is_not_ours_is_refused_unpaid(file: bytes, change: dict[str, object]) -> None:
    header, _, sealed = file[len(MAGIC) : -32].partition(b"\n")
    changed = json.dumps({**json.loads(header), **change}).encode()
    with pytest.raises(IntegrityError, match="b was not made by this platform"):
        open_backup(resummed(MAGIC + changed + b"\n" + sealed), PASSPHRASE, name="b")


def test_scrypt_is_that_of_rfc_7914() -> None:
    """The standard's third vector (§12), the first of ours that it does not call weak."""
    expected = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    stretching = Stretching(b"SodiumChloride".hex(), n=16384, r=8, p=1)
    assert stretching.key(b"pleaseletmein").hex() == expected
