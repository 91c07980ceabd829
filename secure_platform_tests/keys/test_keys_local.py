"""The root key file: made once, read only when it is private, and its loss is named."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.errors import IntegrityError, SecurePlatformError, UsageError
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.secret_file import read_secret

CONTEXT = {"name": "data", "version": "1", "algorithm": "AES-256-GCM"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_round_trip_over_a_reopened_provider(directory: Path) -> None:
    wrapped = LocalKeyProvider.create(directory).wrap(b"secret", context=CONTEXT)
    assert LocalKeyProvider.open(directory).unwrap(wrapped, context=CONTEXT) == b"secret"
    assert b"secret" not in wrapped


def test_root_key_is_private_and_alone(directory: Path) -> None:
    LocalKeyProvider.create(directory)
    status = (directory / "root.key").stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_size == 32
    assert status.st_nlink == 1
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert os.listdir(directory) == ["root.key"]  # noqa: PTH208 hidden leftovers count


def test_create_never_replaces_a_root_key(directory: Path) -> None:
    LocalKeyProvider.create(directory)
    before = (directory / "root.key").read_bytes()
    with pytest.raises(UsageError, match=r"root\.key exists already"):
        LocalKeyProvider.create(directory)
    assert (directory / "root.key").read_bytes() == before
    assert os.listdir(directory) == ["root.key"]  # noqa: PTH208 hidden leftovers count


def test_many_processes_that_create_make_one_root_key(directory: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from secure_platform.keys.providers.local import LocalKeyProvider\n"
        "from secure_platform.errors import UsageError\n"
        "try: LocalKeyProvider.create(Path(sys.argv[1])); print('made')\n"
        "except UsageError: print('refused')"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outcomes = sorted(process.communicate()[0].strip() for process in running)
    assert outcomes == ["made", "refused", "refused"]


def test_a_missing_root_key_names_the_file_and_the_fix(directory: Path) -> None:
    LocalKeyProvider.create(directory)
    (directory / "root.key").unlink()
    with pytest.raises(IntegrityError) as refusal:
        LocalKeyProvider.open(directory)
    assert f"The root key {directory}/root.key is missing" in refusal.value.culprit
    assert "Restore" in refusal.value.fix
    assert "backup" in refusal.value.fix


def test_another_root_key_is_named(directory: Path, tmp_path: Path) -> None:
    wrapped = LocalKeyProvider.create(directory).wrap(b"secret", context=CONTEXT)
    other = LocalKeyProvider.create(tmp_path / "other")
    with pytest.raises(IntegrityError, match=r"other/root\.key is not the root key"):
        other.unwrap(wrapped, context=CONTEXT)


@pytest.mark.parametrize(
    "mode", [0o400, 0o604, 0o606, 0o640, 0o644, 0o660, 0o666, 0o700, 0o755, 0o777, 0o4600]
)
def test_any_other_mode_is_refused(directory: Path, mode: int) -> None:
    LocalKeyProvider.create(directory)
    (directory / "root.key").chmod(mode)
    with pytest.raises(UsageError, match=f"mode {mode:04o}.*chmod 600"):
        LocalKeyProvider.open(directory)


def test_a_symbolic_link_is_refused(directory: Path) -> None:
    LocalKeyProvider.create(directory)
    (directory / "root.key").rename(directory / "elsewhere")
    (directory / "root.key").symlink_to(directory / "elsewhere")
    with pytest.raises(UsageError, match="symbolic link"):
        LocalKeyProvider.open(directory)
    (directory / "elsewhere").unlink()
    with pytest.raises(UsageError, match="symbolic link"):
        LocalKeyProvider.open(directory)


def test_a_directory_and_a_pipe_are_refused_at_once(directory: Path) -> None:
    (directory / "root.key").mkdir(parents=True)
    with pytest.raises(UsageError, match="not a regular file"):
        LocalKeyProvider.open(directory)
    (directory / "root.key").rmdir()
    os.mkfifo(directory / "root.key", 0o600)
    with pytest.raises(UsageError, match="not a regular file"):
        LocalKeyProvider.open(directory)


def test_a_file_of_another_user_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalKeyProvider.create(directory)
    ours = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
    with pytest.raises(UsageError, match=f"belongs to user id {ours}, not to {ours + 1}"):
        LocalKeyProvider.open(directory)


def test_a_path_that_cannot_be_opened_is_named(directory: Path) -> None:
    directory.write_bytes(b"a file in place of the folder")
    with pytest.raises(UsageError, match="cannot be read: Not a directory"):
        LocalKeyProvider.open(directory)


@pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 4096])
def test_a_root_key_of_the_wrong_length_is_refused(directory: Path, length: int) -> None:
    LocalKeyProvider.create(directory)
    (directory / "root.key").write_bytes(b"k" * length)
    with pytest.raises(IntegrityError, match="does not hold 32 bytes"):
        LocalKeyProvider.open(directory)


def test_read_secret_is_bounded(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"a" * 100)
    secret.chmod(0o600)
    assert read_secret(secret, name="The secret", limit=10) == b"a" * 10


def test_every_flipped_bit_of_a_wrapped_key_is_refused(directory: Path) -> None:
    provider = LocalKeyProvider.create(directory)
    wrapped = provider.wrap(bytes(32), context=CONTEXT)
    assert len(wrapped) == 1 + 32 + 12 + 32 + 16
    for position in range(len(wrapped)):
        for bit in range(8):
            broken = bytearray(wrapped)
            broken[position] ^= 1 << bit
            with pytest.raises(IntegrityError):
                provider.unwrap(bytes(broken), context=CONTEXT)


def test_every_truncation_and_an_extension_is_refused(directory: Path) -> None:
    provider = LocalKeyProvider.create(directory)
    wrapped = provider.wrap(bytes(32), context=CONTEXT)
    for broken in [wrapped[:length] for length in range(len(wrapped))] + [wrapped + b"\0", b"\0" + wrapped]:
        with pytest.raises(IntegrityError):
            provider.unwrap(broken, context=CONTEXT)


@pytest.mark.parametrize(
    "context",
    [
        {},
        {**CONTEXT, "version": "2"},
        {**CONTEXT, "name": "token"},
        {**CONTEXT, "algorithm": "none"},
        {**CONTEXT, "more": ""},
        {"name": "data", "version": "1"},
    ],
)
def test_another_context_is_refused(directory: Path, context: dict[str, str]) -> None:
    provider = LocalKeyProvider.create(directory)
    with pytest.raises(IntegrityError, match="does not authenticate"):
        provider.unwrap(provider.wrap(b"secret", context=CONTEXT), context=context)


def test_two_wrappings_of_one_secret_differ(directory: Path) -> None:
    provider = LocalKeyProvider.create(directory)
    assert len({provider.wrap(b"secret", context=CONTEXT) for _ in range(50)}) == 50


@given(key=st.binary(min_size=32, max_size=32), secret=st.binary(max_size=100), aad=st.binary(max_size=50))
def test_an_envelope_opens_what_it_sealed_and_nothing_else(key: bytes, secret: bytes, aad: bytes) -> None:
    envelope = Envelope(key)
    sealed = envelope.seal(secret, aad)
    assert envelope.open(sealed, aad, name="x") == secret
    for refused_key, refused_aad in ((bytes(byte ^ 1 for byte in key), aad), (key, aad + b"\0")):
        with pytest.raises(IntegrityError):
            Envelope(refused_key).open(sealed, refused_aad, name="x")


@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused_with_our_error(garbage: bytes) -> None:
    with pytest.raises(SecurePlatformError):
        Envelope(bytes(32)).open(garbage, b"", name="x")


def test_one_ciphertext_cannot_be_made_for_two_keys() -> None:
    """Without the commitment, bytes can be chosen so that AES-GCM accepts them under both keys."""
    first, second = Envelope(bytes(32)), Envelope(b"\1" * 32)
    sealed = first.seal(b"secret", b"")
    forged = second.seal(b"secret", b"")[:33] + sealed[33:]
    assert first.belongs(sealed)
    assert not second.belongs(sealed)
    for envelope in (first, second):
        with pytest.raises(IntegrityError):
            envelope.open(forged, b"", name="x")
