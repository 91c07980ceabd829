"""The kernels over whole columns give, bit for bit, what the standards' vectors and the library give."""

import gzip
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_platform.errors import IntegrityError, PlanRefusedError, UsageError
from secure_platform.protect.cells import AT_ONCE, BYTES_AT_ONCE, Cells
from secure_platform.protect.ff1 import ColumnFf1, fits
from secure_platform.protect.siv import Aes, ColumnSiv

KEY = bytes(range(64))
SYMBOLS = "0123456789abcdefghijklmnopqrstuvwxyz"
K128 = "2B7E151628AED2A6ABF7158809CF4F3C"
K192 = f"{K128}EF4359D8D580AA4F"
K256 = f"{K192}7F036D6F04FC6A94"
SHORT, LONG = "39383736353433323130", "3737373770717273373737"
# NIST, "FF1 samples", the examples of SP 800-38G: key, radix, tweak, plaintext, ciphertext.
NIST_FF1 = [
    (K128, 10, "", "0123456789", "2433477484"),
    (K128, 10, SHORT, "0123456789", "6124200773"),
    (K128, 36, LONG, "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
    (K192, 10, "", "0123456789", "2830668132"),
    (K192, 10, SHORT, "0123456789", "2496655549"),
    (K192, 36, LONG, "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"),
    (K256, 10, "", "0123456789", "6657667009"),
    (K256, 10, SHORT, "0123456789", "1001623463"),
    (K256, 36, LONG, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
]


def kernel(key: bytes, *associated: bytes) -> ColumnSiv:
    """Never the library, however few cells there are."""
    return ColumnSiv(key, *associated, few=0, long=10**9)


def vectors(shared_data: Path, name: str) -> list[dict[str, Any]]:
    text = gzip.decompress((shared_data / "crypto_signing" / "wycheproof" / name).read_bytes())
    return [test for group in json.loads(text)["testGroups"] for test in group["tests"]]


def cells(*values: bytes | None) -> Cells:
    return Cells.of(pl.Series(values, dtype=pl.Binary))


def values(column: Cells) -> list[bytes | None]:
    return column.series().to_list()


def numerals(*texts: str) -> Any:
    return np.array([[SYMBOLS.index(symbol) for symbol in text] for text in texts], np.uint8)


def texts(matrix: Any) -> list[str]:
    return ["".join(SYMBOLS[code] for code in row) for row in matrix]


# --- columns as bytes


@given(st.lists(st.none() | st.binary(max_size=40)), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_cells_are_read_by_length_and_come_back_where_they_were(found: list[bytes | None], skip: int) -> None:
    column = pl.Series(found, dtype=pl.Binary)[skip:]
    before = Cells.of(column)
    after = Cells.shaped(before.lengths, before.valid)
    seen = 0
    for rows in before.groups():
        after.write(rows, before.read(rows))
        seen += len(rows)
    assert values(after) == column.to_list()
    assert seen == column.len() - column.null_count()


def test_a_group_of_many_cells_is_taken_in_parts() -> None:
    column = Cells.of(pl.Series([f"{i:06}" for i in range(2 * AT_ONCE + 1)]))
    assert [len(rows) for rows in column.groups()] == [AT_ONCE, AT_ONCE, 1]


# --- AES-SIV


def test_aes_siv_wycheproof(shared_data: Path) -> None:
    opened = refused = 0
    for test in vectors(shared_data, "aes_siv_cmac_test.json.gz"):
        siv = kernel(bytes.fromhex(test["key"]), bytes.fromhex(test["aad"]))
        plain, sealed = bytes.fromhex(test["msg"]), bytes.fromhex(test["ct"])
        if test["result"] == "valid":
            assert values(siv.encrypt(cells(plain))) == [sealed], test["tcId"]
            assert values(siv.decrypt(cells(sealed))) == [plain], test["tcId"]
            opened += 1
        else:
            with pytest.raises(IntegrityError):
                siv.decrypt(cells(sealed))
            refused += 1
    assert (opened, refused) == (118, 324)


def test_rfc_5297_with_a_nonce_and_two_associated_data() -> None:
    """Appendix A.2."""
    key = "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f"
    first = "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100"
    siv = kernel(bytes.fromhex(key), bytes.fromhex(first), bytes.fromhex("102030405060708090a0"))
    plain = b"this is some plaintext to encrypt using SIV-AES"
    nonce = np.frombuffer(bytes.fromhex("09f911029d74e35bd84156c5635688c0"), np.uint8)[None, :]
    sealed = siv.encrypt(cells(plain), nonce)
    assert values(sealed)[0] == bytes.fromhex(
        "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17"
        "dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d"
    )
    assert values(siv.decrypt(sealed, nonce)) == [plain]


@given(
    column=st.lists(st.none() | st.binary(max_size=70), max_size=20),
    associated=st.lists(st.binary(max_size=40), max_size=2),
    key=st.sampled_from([32, 48, 64]),
)
@settings(max_examples=100, deadline=None)
def test_a_column_is_what_the_library_makes_of_each_cell(
    column: list[bytes | None], associated: list[bytes], key: int
) -> None:
    library, siv = AESSIV(KEY[:key]), kernel(KEY[:key], *associated)
    expected = [None if cell is None else library.encrypt(cell, associated) for cell in column]
    sealed = siv.encrypt(cells(*column))
    assert values(sealed) == expected
    assert values(siv.decrypt(sealed)) == column


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=50, deadline=None)
def test_one_changed_bit_of_one_cell_opens_nothing(place: int, bit: int) -> None:
    sealed = kernel(KEY, b"here").encrypt(cells(b"one", None, b"", bytes(40)))
    sealed.flat[place % len(sealed.flat)] ^= 1 << bit
    for siv in (kernel(KEY, b"here"), ColumnSiv(KEY, b"here")):
        with pytest.raises(IntegrityError, match="not authentic"):
            siv.decrypt(sealed)


@pytest.mark.parametrize("other", [kernel(KEY, b"there"), kernel(KEY), kernel(KEY[::-1], b"here")])
def test_a_cell_of_another_column_or_key_does_not_open(other: ColumnSiv) -> None:
    sealed = ColumnSiv(KEY, b"here").encrypt(cells(b"value"))
    with pytest.raises(IntegrityError):
        other.decrypt(sealed)
    with pytest.raises(IntegrityError):
        other.decrypt(cells(b"too short"))


@given(
    column=st.lists(st.none() | st.binary(max_size=40), max_size=20),
    few=st.integers(0, 4),
    long=st.integers(0, 40),
)
@settings(max_examples=100, deadline=None)
def test_kernel_and_library_are_one_whoever_takes_which_cells(
    column: list[bytes | None], few: int, long: int
) -> None:
    nonces = np.arange(16 * len(column), dtype=np.uint8).reshape(-1, 16)
    mixed, alone = ColumnSiv(KEY, b"here", few=few, long=long), kernel(KEY, b"here")
    for own in (None, nonces):
        sealed = mixed.encrypt(cells(*column), own)
        assert values(sealed) == values(alone.encrypt(cells(*column), own))
        assert values(mixed.decrypt(sealed, own)) == values(alone.decrypt(sealed, own)) == column


def test_long_cells_are_taken_in_parts_of_bounded_size() -> None:
    column = Cells.of(pl.Series(["x" * (BYTES_AT_ONCE // 2)] * 5 + ["y" * 3 * BYTES_AT_ONCE] * 2 + ["z"]))
    assert [len(rows) for rows in column.groups()] == [1, 2, 2, 1, 1, 1]


def test_a_counter_that_would_carry_is_right() -> None:
    """Of many tags some have ones in all the lower bits that are not cleared; more blocks than the rest."""
    column = [secrets.token_bytes(16 * 300) for _ in range(40)]
    library = AESSIV(KEY)
    assert values(kernel(KEY).encrypt(cells(*column))) == [library.encrypt(cell, None) for cell in column]


def test_kernels_hold_keys_and_are_not_pickled() -> None:
    for kernel in (Aes(KEY[:32]), ColumnSiv(KEY), ColumnFf1(KEY[:32], 10)):
        with pytest.raises(UsageError, match="pickled"):
            kernel.__reduce__()
        assert KEY[:16].hex() not in repr(kernel)


def test_several_threads_use_one_kernel_at_once() -> None:
    aes, blocks = Aes(KEY[:32]), np.zeros((1 << 20, 16), np.uint8)
    expected = aes.blocks(blocks)
    with ThreadPoolExecutor(4) as pool:
        assert all((each == expected).all() for each in pool.map(aes.blocks, [blocks] * 12))


# --- FF1


@pytest.mark.parametrize(("key", "radix", "tweak", "plain", "expected"), NIST_FF1)
def test_ff1_nist(key: str, radix: int, tweak: str, plain: str, expected: str) -> None:
    ff1 = ColumnFf1(bytes.fromhex(key), radix, bytes.fromhex(tweak))
    assert texts(ff1.encrypt(numerals(plain))) == [expected]
    assert texts(ff1.decrypt(numerals(expected))) == [plain]


def test_ff1_wycheproof(shared_data: Path) -> None:
    """All valid ones that hold a million values and fit the arithmetic; the others are refused."""
    checked = refused = 0
    for test in vectors(shared_data, "aes_ff1_radix10_test.json.gz"):
        if test["result"] != "valid":
            continue
        ff1 = ColumnFf1(bytes.fromhex(test["key"]), 10, bytes.fromhex(test["tweak"]))
        plain = np.array([test["msg"]], np.uint8)
        if fits(10, plain.shape[1], plain.shape[1]):
            assert ff1.encrypt(plain).tolist() == [test["ct"]], test["tcId"]
            assert ff1.decrypt(np.array([test["ct"]], np.uint8)).tolist() == [test["msg"]], test["tcId"]
            checked += 1
        else:
            with pytest.raises(PlanRefusedError, match="cannot be encrypted"):
                ff1.encrypt(plain)
            refused += plain.shape[1] < 6
    assert (checked, refused) == (3066, 12)


def test_the_smallest_domain_is_permuted() -> None:
    whole = np.arange(10**6)
    digits = np.stack([whole // 10**place % 10 for place in range(5, -1, -1)], axis=1).astype(np.uint8)
    ff1 = ColumnFf1(KEY[:32], 10, b"column")
    made = ff1.encrypt(digits)
    numbers = made.astype(np.int64) @ (10 ** np.arange(5, -1, -1))
    assert len(np.unique(numbers)) == 10**6
    assert (ff1.decrypt(made) == digits).all()
    assert (numbers != whole).sum() > 10**6 - 20, "one of a million stays by chance"


@given(
    radix=st.integers(2, 62),
    size=st.integers(1, 60),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_any_number_comes_back_and_no_other_key_or_tweak_gives_the_same(
    radix: int, size: int, data: st.DataObject
) -> None:
    if not fits(radix, size, size):
        with pytest.raises(PlanRefusedError):
            ColumnFf1(KEY[:32], radix).encrypt(np.zeros((1, size), np.uint8))
        return
    rows = data.draw(st.lists(st.lists(st.integers(0, radix - 1), min_size=size, max_size=size), min_size=1))
    plain = np.array(rows, np.uint8)
    ff1 = ColumnFf1(KEY[:32], radix, b"column")
    made = ff1.encrypt(plain)
    assert made.max() < radix
    assert (ff1.decrypt(made) == plain).all()
    many = np.resize(plain, (40, size))
    for other in (ColumnFf1(KEY[32:], radix, b"column"), ColumnFf1(KEY[:32], radix, b"another column")):
        assert (other.encrypt(many) != ff1.encrypt(many)).any()


@pytest.mark.parametrize(
    ("radix", "shortest", "longest", "said"),
    [(10, 6, 6, True), (10, 5, 9, False), (10, 6, 32, True), (10, 6, 33, False), (36, 4, 20, True)],
)
def test_which_lengths_ff1_takes(radix: int, shortest: int, longest: int, said: bool) -> None:  # noqa: FBT001 - a table
    assert fits(radix, shortest, longest) is said
