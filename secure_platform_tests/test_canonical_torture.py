"""The JSON that is read from outside, against the test suite of JSON parsers and what it leaves out."""

import json
import tarfile
from pathlib import Path

import pytest

from secure_platform import canonical
from secure_platform.errors import IntegrityError


def suite(shared_data: Path) -> dict[str, bytes]:
    with tarfile.open(shared_data / "torture" / "json_test_suite.tar.gz") as archive:
        return {Path(m.name).name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


# Well-formed, but two readers may understand them differently.
AMBIGUOUS = {
    "y_object_duplicated_key.json",
    "y_object_duplicated_key_and_value.json",
}


def is_read(document: bytes) -> bool:
    try:
        canonical.loads(document, name="It")
    except IntegrityError:
        return False
    return True


def test_a_refusal_names_the_document_and_holds_nothing_of_it() -> None:
    with pytest.raises(IntegrityError, match="It is not a strict JSON document") as caught:
        canonical.loads(b'{"canary": canary}', name="It")
    assert caught.value.__cause__ is None
    assert "canary" not in str(caught.value)


def test_the_suite_is_read_or_refused_as_it_says(shared_data: Path) -> None:
    members = suite(shared_data)
    assert len(members) == 199
    read = {name for name, document in members.items() if is_read(document)}
    must = {name for name in members if name.startswith("y_")}
    must_not = {name for name in members if name.startswith("n_")}
    assert must - read == AMBIGUOUS & must
    assert read & must_not == set()


@pytest.mark.parametrize(
    "document",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b"{} {}",
        b"{}x",
        b"",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"9" * 10_000,
        b"[1e999]",
        b"-1e999",
        b"1" + b"0" * 400 + b".5",
    ],
    ids=range(20),
)
def test_what_two_readers_may_understand_differently_is_refused(document: bytes) -> None:
    assert not is_read(document)


@pytest.mark.parametrize("document", [b'"\\ud800"', b'{"\\udfff":1}'])
def test_a_lone_surrogate_is_not_carried_on(document: bytes) -> None:
    with pytest.raises(IntegrityError, match="half of a surrogate pair"):
        canonical.loads(document, name="It")
    with pytest.raises(IntegrityError):
        canonical.dumps(json.loads(document))


def test_a_whole_pair_is_one_character() -> None:
    assert canonical.loads(rb'["\ud83d\uDE00", "\\ud800"]', name="It") == ["\U0001f600", r"\ud800"]


def test_hostile_strings_come_back_exactly(naughty_strings: list[str]) -> None:
    together = {"all": naughty_strings, **{text: text for text in naughty_strings}}
    document = canonical.dumps(together)
    assert canonical.loads(document, name="It") == together
    assert canonical.dumps(canonical.loads(document, name="It")) == document
