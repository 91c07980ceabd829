"""A secret of a row opens in that row, for its purpose, and nowhere else."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keys_support import Home, migrate

from secure_platform.errors import IntegrityError

ROW = {"table": "credential", "principal": "alice"}
SECRET = b"JBSWY3DPEHPK3PXP"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Home:
    return Home(tmp_path, migrated)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(secret=st.binary(max_size=500))
def test_what_was_sealed_opens(home: Home, secret: bytes) -> None:
    sealed = home.ring.seal_secret("totp", ROW, secret)
    assert home.ring.open_secret("totp", dict(reversed(ROW.items())), sealed) == secret


def test_the_same_secret_never_looks_the_same(home: Home) -> None:
    sealed = {home.ring.seal_secret("totp", ROW, SECRET) for _ in range(10)}
    assert len(sealed) == 10
    assert not any(SECRET in each for each in sealed)


def test_it_opens_for_no_other_purpose_and_in_no_other_row(home: Home) -> None:
    sealed = home.ring.seal_secret("totp", ROW, SECRET)
    for purpose, row in (
        ("reason", ROW),
        ("", ROW),
        ("totp", {**ROW, "principal": "bob"}),
        ("totp", {**ROW, "more": ""}),
        ("totp", {}),
    ):
        with pytest.raises(IntegrityError, match="does not authenticate"):
            home.ring.open_secret(purpose, row, sealed)


def test_every_flipped_bit_is_refused(home: Home) -> None:
    sealed = home.ring.seal_secret("totp", ROW, SECRET)
    for position in range(len(sealed)):
        broken = bytearray(sealed)
        broken[position] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            home.ring.open_secret("totp", ROW, bytes(broken))


def test_a_part_of_it_is_refused(home: Home) -> None:
    sealed = home.ring.seal_secret("totp", ROW, SECRET)
    for size in range(len(sealed)):
        with pytest.raises(IntegrityError):
            home.ring.open_secret("totp", ROW, sealed[:size])
