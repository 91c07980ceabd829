"""What is declared of every transform, held to each of them: none is forgotten that is added."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import KEYS, DerivedKeys, column, dataset_plan, typed

from secure_platform.contract.model import Column
from secure_platform.protect.execute import apply
from secure_platform.protect.strength import KINDS, strengths
from secure_platform.protect.transforms import TRANSFORMS

PARAMS: Final[Mapping[str, Any]] = {
    "amount": 5,
    "as": "name",
    "checksum": "none",
    "file": "education.csv",
    "highest": 5,
    "level": 1,
    "ttl": 3650,
    "when": {"column": "row", "below": 5},
    "width": 5,
}
NESTED: Final = column("a", level="public", protect="replace")
MOMENTS: Final = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - its zone is given
VALUES: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "string": st.sampled_from(
        ["123-456789", "999-000001", "Bachelors", "02155", "1990", "", "a@example.com"]
    ),
    "integer": st.integers(0, 9999),
    # Without minus zero, which equals zero and is another number when it is encrypted.
    "number": st.floats(-1000, 1000).map(lambda number: number + 0.0),
    "boolean": st.booleans(),
    "date": MOMENTS.map(datetime.date),
    "timestamp": MOMENTS,
}
FIXED: Final = [name for name in TRANSFORMS if strengths().named(name).deterministic and name != "keep"]
READS: Final = frozenset({"fpe", "generalize.year", "generalize.hierarchy", "redact", "members"})
"""What reads a text, or leaves nothing: an empty text is null after it."""
ONE_WAY: Final = ("hash", "tokenize", "fake")
DIGESTS: Final = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256")


class OtherKeys(DerivedKeys):
    """Those of another home."""

    @staticmethod
    def bytes(domain: str, version: int = 1) -> bytes:
        return DerivedKeys.bytes(f"other|{domain}", version)


def asked(name: str) -> dict[str, Any]:
    """What a contract writes for a transform."""
    transform, _, kind = name.partition(".")
    known = strengths().named(name).params
    wanted = {"transform": transform, **({KINDS[transform]: kind} if kind else {})}
    wanted |= {"then": "redact", "otherwise": "keep"} if name == "conditional" else {}
    return {**wanted, **{each: value for each, value in PARAMS.items() if each in known}}


def columns(name: str, logical_type: str) -> Sequence[Column]:
    members: dict[str, Any] = {"members": (NESTED,)} if name == "members" else {"protect": asked(name)}
    subject = column("v", logical_type, "public", pattern="^[0-9]{3}-[0-9]{6}$", **members)
    return subject, column("row", "integer", "public", protect="keep", primary_key=True, subject_id=True)


def types(name: str) -> Iterator[str]:
    return (kind for kind in VALUES if column("v", kind).dtype in TRANSFORMS[name].outputs)


def after(name: str, logical_type: str, values: Sequence[Any], keys: DerivedKeys = KEYS) -> list[Any]:
    shaped = columns(name, logical_type)
    plan = dataset_plan(*shaped, profile="gdpr_pseudonymous")
    frame = typed(shaped, {"v": list(values), "row": list(range(len(values)))})
    made = apply(plan, frame, keys).collect(engine="streaming")
    assert made["row"].to_list() == list(range(len(values))), "every row is where it was"
    assert str(made.schema["v"]) == plan.columns[0].output_type
    return made["v"].to_list()


@pytest.mark.parametrize("name", FIXED)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_what_is_declared_to_be_the_same_is_so_in_every_row_and_run(name: str, data: st.DataObject) -> None:
    for kind in types(name):
        values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=12))
        first = after(name, kind, values)
        assert after(name, kind, values[::-1]) == first[::-1]
        assert len(set(zip(values, first, strict=True))) == len(set(values))


@pytest.mark.parametrize("name", TRANSFORMS)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_null_stays_null_and_every_row_where_it_was(name: str, data: st.DataObject) -> None:
    for kind in types(name):
        values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=12))
        made = after(name, kind, values)
        assert all(new is None for old, new in zip(values, made, strict=True) if old is None)
        if "lossy" not in strengths().named(name).uniqueness and name not in {
            "fpe",
            "conditional",
            "members",
        }:
            assert all(new is not None for old, new in zip(values, made, strict=True) if old is not None)


@pytest.mark.parametrize(
    "name", [name for name in TRANSFORMS if name not in READS and "string" in types(name)]
)
def test_an_empty_text_is_no_null(name: str) -> None:
    made = after(name, "string", [*"abcdef", "", None])
    assert made[-2] is not None
    assert made[-1] is None


@pytest.mark.parametrize("name", ONE_WAY)
@given(values=st.lists(st.from_regex(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", fullmatch=True), min_size=1, max_size=20))
@settings(max_examples=10, deadline=None)
def test_what_is_one_way_goes_by_a_key_that_no_guess_of_the_value_replaces(
    name: str, values: list[str]
) -> None:
    """A Social Security number is one of 10^9: without a key, all are tried in seconds."""
    made = after(name, "string", values)
    if name != "fake":
        assert not set(made) & set(after(name, "string", values, OtherKeys()))
    for value in values:
        for digest in DIGESTS:
            found = hashlib.new(digest, value.encode(), usedforsecurity=False).hexdigest()
            assert not any(found[:16] in cell or found[-16:] in cell for cell in made)


def test_what_is_made_up_goes_by_the_key_too() -> None:
    values = [str(number) for number in range(200)]
    pairs = zip(after("fake", "string", values), after("fake", "string", values, OtherKeys()), strict=True)
    assert sum(one == other for one, other in pairs) < len(values) / 4
