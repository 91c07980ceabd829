"""What the engine does around the rules: windows, overlaps, layers, allow lists; and its work is linear."""

import base64
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_samples import ENGINE, sample

from secure_platform.errors import UsageError
from secure_platform.scan.secrets import engine as engine_module
from secure_platform.scan.secrets.document import own_rules, parse_rules
from secure_platform.scan.secrets.engine import ALLOW_COMMENT, Engine
from secure_platform.scan.secrets.linear import Match, Pattern, any_of, compile_pattern
from secure_platform.scan.secrets.rules import RuleSet

TOKEN = sample(own_rules().rules["github-pat"]).strip()
WIDE = """
[[rules]]
id = "wide"
regex = '''(?s)begin-([a-z]{4}).*'''
keywords = ["begin-"]
"""
TWO = """
[[rules]]
id = "one"
regex = '''one-([a-z]{4})'''
keywords = ["one-"]

[[rules]]
id = "two"
regex = '''two-([a-z]{4})(?:;|$)'''
keywords = ["two-"]
"""


def rules(text: bytes, path: str = "a/b.txt") -> list[str]:
    return [hit.rule.id for hit in ENGINE.hits(text, path)]


def test_secrets_in_one_line_and_far_apart_are_found_at_their_places() -> None:
    text = TOKEN + b" " + b"x " * 50_000 + TOKEN + b"\n" * 1000 + TOKEN
    hits = ENGINE.hits(text)
    assert [text[hit.start : hit.end] for hit in hits] == [TOKEN] * 3
    assert sorted({hit.start for hit in hits}) == [hit.start for hit in hits]


def test_neighbours_that_share_a_delimiter_are_both_found() -> None:
    assert [hit.secret for hit in Engine(parse_rules(TWO, "two")).hits(b"two-abcd;two-efgh;one-ijkl")] == [
        b"abcd",
        b"efgh",
        b"ijkl",
    ]


def test_a_keyword_inside_what_announces_another_rule_is_seen() -> None:
    assert rules(b'password = "' + TOKEN + b'"') == ["github-pat"]


def test_the_rule_that_says_most_keeps_a_place() -> None:
    assert rules(b"https://me:" + TOKEN + b"@github.com/x") == ["github-pat"]


def test_a_line_can_be_allowed() -> None:
    assert rules(TOKEN + b"  # " + ALLOW_COMMENT) == []
    assert rules(TOKEN + b"\n# " + ALLOW_COMMENT) == ["github-pat"]


@pytest.mark.parametrize(
    ("kind", "wrapped"),
    [
        ("base64", base64.b64encode(b"user:" + TOKEN)),
        ("base64", base64.urlsafe_b64encode(b"user:" + TOKEN).rstrip(b"=")),
        ("hex", TOKEN.hex().encode()),
        ("hex", TOKEN.hex().upper().encode()),
        ("percent-encoding", "".join(f"%{byte:02X}" for byte in TOKEN).encode()),
        ("joined", b'"' + TOKEN[:10] + b'" + "' + TOKEN[10:] + b'"'),
    ],
)  # fmt: skip
def test_a_secret_is_seen_through_an_encoding(kind: str, wrapped: bytes) -> None:
    (hit,) = [hit for hit in ENGINE.hits(b"value: " + wrapped + b"\n") if hit.rule.id == "github-pat"]
    assert hit.wrappings == (kind,)
    assert hit.secret == TOKEN


def test_two_layers_are_seen_through_and_more_are_not() -> None:
    once = base64.b64encode(b"the token is " + TOKEN)
    twice = base64.b64encode(b"wrapped again: " + once)
    assert "github-pat" in rules(twice)
    assert "github-pat" not in rules(base64.b64encode(b"and once more: " + twice))


def test_a_format_inside_a_picture_is_chance() -> None:
    blob = base64.b64encode(random.Random(1).randbytes(300)).rstrip(b"=")  # noqa: S311 - samples
    assert rules(blob + b"/" + TOKEN) == []
    assert rules(b"data:" + blob + b" " + TOKEN) == ["github-pat"]


def test_examples_are_excused_in_files_and_not_in_data() -> None:
    text = b"AKIAIOSFODNN7" + b"EXAMPLE"
    assert rules(text, "docs/a.md") == []
    assert rules(text, "") == ["aws-access-key-id"]


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(?<!a)b", r"(a)\1", "a{1001}", "(", r"(?P<n>a)(?P=n)"])
def test_a_pattern_that_cannot_run_in_linear_time_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="linear time"):
        compile_pattern(pattern, "a test")


def test_what_never_ends_by_backtracking_ends() -> None:
    hostile = b"a" * 100_000 + b"!"
    assert compile_pattern(r"^(a+)+$", "a test").search(hostile) is None
    assert compile_pattern(r"^(?:a|aa|a?)*b$", "a test").search(hostile) is None


class Counted:
    """A pattern that counts the bytes it is shown: RE2 takes a bounded number of steps for each."""

    shown = 0

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern

    @property
    def groups(self) -> int:
        return self._pattern.groups

    def search(self, text: bytes, pos: int | None = None, endpos: int | None = None, /) -> Match | None:
        start, stop = pos or 0, len(text) if endpos is None else endpos
        match = self._pattern.search(text, start, stop)
        Counted.shown += (match.span()[1] if match else stop) - start
        return match

    def finditer(self, text: bytes, pos: int | None = None, endpos: int | None = None, /) -> Iterator[Any]:
        assert (pos, endpos) == (None, None)
        Counted.shown += len(text)
        return iter(self._pattern.finditer(text))

    def fullmatch(self, text: bytes, /) -> Match | None:
        Counted.shown += len(text)
        return self._pattern.fullmatch(text)


@pytest.fixture(scope="module")
def counting() -> Iterator[Engine]:
    own = own_rules()
    counted = {
        name: replace(rule, regex=Counted(rule.regex)) for name, rule in own.rules.items() if rule.regex
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "any_of", lambda *words: Counted(any_of(*words)))
        yield Engine(RuleSet(counted, own.allowlists))


UNITS = [
    *(
        b"password=",
        b'key: "',
        b"a",
        b"token ",
        b"'",
        b"%41",
        b"-----BEGIN PRIVATE KEY-----",
        b"AKIA",
        b"eyJ",
    ),
    *(b'"abcd"+', b"\n", b"0123456789abcdef", b"user:pass@", b"://a:", b"secret(", b"QUJD", b"sk-", b"\\\\"),
]


def steps(engine: Engine, text: bytes) -> int:
    Counted.shown = 0
    engine.hits(text)
    return Counted.shown


@pytest.mark.parametrize("unit", UNITS)
def test_twice_the_text_is_at_most_about_twice_the_work(counting: Engine, unit: bytes) -> None:
    size = 16 << 10
    once, twice = (steps(counting, (unit * count)[:count]) for count in (size, 2 * size))
    assert once > 0
    assert twice <= 2.5 * once


def test_a_rule_that_spans_lines_is_linear_work_too() -> None:
    rule = parse_rules(WIDE, "wide.toml").rules["wide"]
    assert rule.wide
    assert rule.regex
    engine = Engine(RuleSet({"wide": replace(rule, regex=Counted(rule.regex))}))
    once, twice = (steps(engine, b"begin-abcd " * count) for count in (200, 400))
    assert twice <= 2.5 * once


@given(st.lists(st.sampled_from([*UNITS, TOKEN, b" ", b"=", b"\xff"]), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_no_mixture_of_hostile_pieces_is_more_than_linear_work(counting: Engine, pieces: list[bytes]) -> None:
    unit = b"".join(pieces)
    once, twice = (steps(counting, unit * (count // len(unit) + 1)) for count in (8 << 10, 16 << 10))
    assert twice <= 2.5 * once + (64 << 10)


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_answered(data: bytes) -> None:
    for hit in ENGINE.hits(data):
        assert 0 <= hit.start < hit.end <= len(data)


@given(st.text(alphabet="ab \n\"'=:", max_size=60), st.text(alphabet="ab \n\"'=:", max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_secret_is_found_whatever_surrounds_it(before: str, after: str) -> None:
    text = before.encode() + b" " + TOKEN + b" " + after.encode()
    assert "github-pat" in rules(text)


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_where_nothing_announces_a_secret_there_is_none(data: bytes) -> None:
    text = data + b" " + TOKEN
    signs = [range(*match.span()) for sign in ENGINE.announcements for match in sign.finditer(text)]
    for hit in ENGINE.hits(text):
        assert any(place in sign for sign in signs for place in range(hit.start - 64, hit.end))
