"""The keyed hash is HMAC-SHA-256 over documented bytes, and its key stays out of sight."""

import hmac
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars_hash import CryptographicHashingNameSpace

from secure_platform.errors import PlanRefusedError
from secure_platform.protect.keyed import canonical_text, hmac_hex

KEY = bytes(range(32))

# RFC 4231 test cases whose keys are text, which is all that polars-hash accepts: 1, 2, 4.
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
]


def hashed(message: bytes, key: str) -> str:
    expression = CryptographicHashingNameSpace(pl.col("m")).hmac_sha256(key=key)
    return str(pl.DataFrame({"m": [message]}).select(expression).item())


@pytest.mark.parametrize(("key", "message", "expected"), RFC_4231)
def test_the_library_keys_the_hmac_with_the_bytes_of_the_text(
    key: bytes, message: bytes, expected: str
) -> None:
    assert hashed(message, key.decode()) == expected
    assert hmac.new(key, message, "sha256").hexdigest() == expected


def test_wycheproof_vectors_with_text_keys(shared_data: Path) -> None:
    path = shared_data / "crypto_signing" / "wycheproof" / "hmac_sha256_test.json"
    groups: list[dict[str, Any]] = json.loads(path.read_text())["testGroups"]
    checked = 0
    for group in groups:
        for vector in group["tests"]:
            try:
                key = bytes.fromhex(vector["key"]).decode()
            except UnicodeDecodeError:
                continue
            mac = hashed(bytes.fromhex(vector["msg"]), key)[: group["tagSize"] // 4]
            assert (mac == vector["tag"]) == (vector["result"] == "valid"), vector["tcId"]
            checked += 1
    assert checked >= 3


def test_known_answer() -> None:
    """Pins the construction; `printf 'Zoë' | openssl dgst -sha256 -hmac 0001…1e1f` gives the same."""
    hexadecimal = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    expected = hmac.new(hexadecimal.encode("ascii"), "Zoë".encode(), "sha256").hexdigest()
    assert expected == "9fcab9359c137648fe80d42507071caa7579f35705ead248d6186a775ed53eb8"
    result = pl.DataFrame({"v": ["Zoë"]}).select(hmac_hex(pl.col("v"), KEY)).item()
    assert result == expected


@given(values=st.lists(st.none() | st.text(), max_size=20), key=st.binary(min_size=32, max_size=32))
@settings(deadline=None, max_examples=60)
def test_equals_the_standard_library(values: list[str | None], key: bytes) -> None:
    frame = pl.DataFrame({"v": values}, schema={"v": pl.String})
    expected = [
        None if v is None else hmac.digest(key.hex().encode(), v.encode(), "sha256").hex() for v in values
    ]
    assert frame.select(hmac_hex(pl.col("v"), key)).to_series().to_list() == expected
    assert frame.lazy().select(hmac_hex(pl.col("v"), key)).collect(
        engine="streaming"
    ).to_series().to_list() == (expected)


@pytest.mark.parametrize("key", [b"", b"short", bytes(31), bytes(33)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(PlanRefusedError):
        hmac_hex(pl.col("v"), key)


def test_the_key_is_in_no_text_of_a_query() -> None:
    expression = hmac_hex(pl.col("v"), KEY)
    query = pl.LazyFrame({"v": ["a"]}).select(expression)
    texts = [
        repr(expression),
        str(expression),
        str(expression.meta.tree_format(return_as_string=True)),
        query.explain(),
        query.explain(engine="streaming"),
        query.explain(format="tree"),
        repr(query),
    ]
    for text in texts:
        for secret in (KEY.hex(), KEY.hex()[:16], repr(KEY)[2:-1]):
            assert secret not in text


def test_a_serialised_expression_holds_the_key() -> None:
    """Why queries are never serialised; if this fails, the library has become safer."""
    assert KEY.hex().encode() in hmac_hex(pl.col("v"), KEY).meta.serialize()


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        (pl.String(), " Mixed Case ", " Mixed Case "),
        (pl.String(), "", ""),
        (pl.String(), "e\u0301", "e\u0301"),
        (pl.Int64(), -9223372036854775808, "-9223372036854775808"),
        (pl.Int64(), 42, "42"),
        (pl.Date(), date(2024, 2, 29), "2024-02-29"),
        (pl.Date(), date(1, 1, 1), "0001-01-01"),
        (pl.Datetime("us", "UTC"), datetime(2024, 2, 29, 1, 2, 3, 4, UTC), "2024-02-29T01:02:03.000004Z"),
    ],
)
def test_every_type_has_one_canonical_text(dtype: pl.DataType, value: Any, text: str) -> None:
    frame = pl.DataFrame({"v": [value, None]}, schema={"v": dtype})
    assert frame.select(canonical_text(pl.col("v"), dtype)).to_series().to_list() == [text, None]
