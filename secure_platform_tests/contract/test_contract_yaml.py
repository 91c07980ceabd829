"""A document is accepted only if no two YAML readers can understand it differently."""

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_support import dump
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_platform.contract.load import load_document
from secure_platform.contract.place import Place
from secure_platform.contract.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, parse
from secure_platform.errors import ContractError

PLACE = Place("a.yaml")


def read(text: str | bytes) -> Any:
    return parse(text.encode() if isinstance(text, str) else text, PLACE)


REFUSED = {
    "duplicate key": ("a: 1\nb: 2\na: 3\n", 3, "`a` appears twice"),
    "duplicate nested key": ("x:\n  - {b: 1, b: 1}\n", 2, "`b` appears twice"),
    "duplicate key in other quotes": ("a: 1\n'a': 2\n", 2, "`a` appears twice"),
    "alias": ("a: &x 1\nb: *x\n", 1, "anchor &x"),
    "anchor alone": ("a:\n  - &x {b: 1}\n", 2, "anchor &x"),
    "undefined alias": ("a: *x\n", 1, ""),
    "merge key": ("a: {b: 1}\n<<: {c: 1}\n", 2, "differently"),
    "python tag": ("a: !!python/object/apply:os.system ['true']\n", 1, "tag"),
    "standard tag": ("a: !!str 1\n", 1, "tag"),
    "bare tag": ("a: ! 1\n", 1, "tag"),
    "tagged mapping": ("a:\n  b: !x {c: 1}\n", 2, "tag"),
    "second document": ("a: 1\n---\nb: 1\n", 2, "second document"),
    "version directive": ("%YAML 1.1\n---\na: 1\n", 1, "directive"),
    "tag directive": ("%TAG ! tag:x,2000:\n---\na: 1\n", 1, "directive"),
    "number as a key": ("a: 1\n2: b\n", 2, "not text"),
    "boolean as a key": ("true: b\n", 1, "not text"),
    "null as a key": ("? \n: b\n", 1, "not text"),
    "list as a key": ("? [a]\n: b\n", 1, "not text"),
    "mapping as a key": ("{a: 1}: b\n", 1, "not text"),
    "bad indentation": ("a: 1\n b: 2\n", 2, "not YAML"),
    "open bracket": ("a: [1, 2\n", 2, "not YAML"),
}
AMBIGUOUS = (
    "yes", "No", "on", "OFF", "y", "N", "012", "0o17", "0x1F", "1_000", "1:30", "190:20:30", "2024-01-31",
    "2024-01-31T10:00:00Z", "1e5", "1.", ".5", "+1", ".inf", "-.INF", ".nan", "True", "FALSE", "Null", "=",
    "1e+999", "9007199254740992", "-9007199254740992", "9" * 5000, "1.0e+999",
)  # fmt: skip
ACCEPTED = {
    "": None, "~": None, "null": None, "true": True, "false": False, "0": 0, "-7": -7, "26": 26, "0.05": 0.05,
    "-1.5": -1.5, "1.0e+10": 1.0e10, "9007199254740991": MAX_INTEGER, "'no'": "no", '"012"': "012",
    "v3.1.0": "v3.1.0",    "1.0.0": "1.0.0", "nonhispanic": "nonhispanic", "team:x": "team:x",
    "0 5 * * *": "0 5 * * *",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_readers_may_understand_differently_is_refused_with_file_and_line(name: str) -> None:
    text, line, words = REFUSED[name]
    with pytest.raises(ContractError) as caught:
        read(text)
    assert caught.value.culprit.startswith(f"a.yaml, line {line}: ")
    assert words in caught.value.culprit
    assert caught.value.fix


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_unquoted_values_that_versions_of_yaml_read_differently_are_refused(text: str) -> None:
    with pytest.raises(ContractError, match="differently"):
        read(f"a: {text}")
    assert read(f"a: '{text}'") == {"a": text}


@pytest.mark.parametrize("text", ACCEPTED)
def test_plain_json_values_and_words_are_accepted(text: str) -> None:
    value = read(f"a: {text}")["a"]
    assert value == ACCEPTED[text]
    assert type(value) is type(ACCEPTED[text])


def test_bytes_that_are_not_utf8_are_refused_by_line() -> None:
    with pytest.raises(ContractError, match=r"a\.yaml, line 3: is not UTF-8"):
        read(b"a: 1\nb: 2\nc: \xff\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(ContractError):
        read("a: 1\n".encode(encoding))


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n") == {"a": 1}


def test_control_characters_are_refused() -> None:
    with pytest.raises(ContractError, match="not YAML"):
        read("a: \x00")


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_document_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="is empty"):
        read(text)


def test_bombs_are_refused_at_once() -> None:
    laughs = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    started = time.perf_counter()
    for bomb in (laughs, "[" * 500_000, "{a: " * 200_000, "- " * 300_000, "a" * (MAX_BYTES + 1)):
        with pytest.raises(ContractError):
            read(bomb)
    assert time.perf_counter() - started < 5


def test_depth_is_limited_and_reached() -> None:
    nested = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    read(nested)
    with pytest.raises(ContractError, match="nested deeper"):
        read(f"[{nested}]")


def test_errors_do_not_repeat_long_names() -> None:
    key = "k" * 5000
    with pytest.raises(ContractError) as caught:
        read(f"'{key}': 1\n'{key}': 2\n")
    assert len(str(caught.value)) < 200


def test_a_file_that_is_missing_or_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        load_document(tmp_path / "a.yaml")
    with pytest.raises(ContractError, match="cannot be read"):
        load_document(tmp_path)
    path = tmp_path / "list.yaml"
    path.write_text("- a\n")
    with pytest.raises(ContractError, match=r"list\.yaml: is not a mapping"):
        load_document(path)


scalars = (
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=20) | st.floats()
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(documents)
def test_what_is_written_quoted_is_read_back(value: Any) -> None:
    text = dump({"a": value})
    if _finite(value):
        assert _same(read(text), {"a": value})
    else:
        with pytest.raises(ContractError):
            read(text)


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}#&*!|>'\"%@,?~ \n0123.<=yentrufals"), max_size=60))
def test_what_two_other_readers_make_of_any_text_is_what_is_read(text: str) -> None:
    try:
        value = read(text)
    except ContractError:
        return
    assert value == yaml.load(text, Loader=yaml.CSafeLoader)
    with suppress(yaml.YAMLError):
        assert value == yaml.safe_load(text)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ContractError):
        read(data)


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list) else True


def _same(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)
