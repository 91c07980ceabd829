"""Whatever the text: an answer, spans inside it, nothing of it in a reason, no more work than it is long."""

import sys
from collections.abc import Iterable
from itertools import pairwise
from types import FrameType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from text_spans import scanner, spans

from secure_platform.scan.text import scanner as scanner_module
from secure_platform.scan.text.numbers import Candidate, NumberRules
from secure_platform.taxonomy.info_types import info_types

VALUES = [
    *("4111 1111 1111 1111", "536-90-4399", "ada@example.org", "ES91 2100 0418 4502 0005 1332"),
    *("192.168.10.21", "+46 (0)157 548 89", "Mrs. Ada Lovelace", "24 Clarke Avenue", "%40", "%"),
    *("dG8gYWRhQGV4YW1wbGUub3JnIG5vdw==", "34313131313131313131313131313131", "password="),
    *("AKIAZ7VRQWTUPK3NXY5M", "phone: ", "card ", "born on ", "\u200b", "\u00ad", "\u202e", "\uff14"),
    *("\u0664", "ß", "😀", "\x00", "\n", '"', "'", "=", ":", "#", "\ud800", "\ufeff"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(VALUES), st.text(max_size=8)), max_size=12).map("".join)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
@example(text="\u200b4111\u200b 1111 1111 1111\u200b")
@example(text="=\ud800 phone: \udfff0494 92 82 32")
def test_spans_lie_inside_the_text_apart_from_each_other_and_name_known_types(text: str) -> None:
    found = spans(text)
    assert all(0 <= span.start < span.end <= len(text) for span in found)
    assert all(before.end <= after.start for before, after in pairwise(found))
    assert all(span.info_type in info_types() and 0.5 <= span.confidence <= 1 for span in found)


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_reasons_are_of_a_closed_set_and_never_what_the_text_says(text: str) -> None:
    for span in spans(text):
        covered = text[span.start : span.end]
        assert covered not in str(span)
        assert all(covered not in reason for reason in span.reasons)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.one_of(st.none(), TEXTS), max_size=6))
def test_texts_beside_each_other_are_as_texts_alone(texts: list[str | None]) -> None:
    together = scanner().spans_of(texts)
    assert together == {place: spans(text) for place, text in enumerate(texts) if text and spans(text)}


UNITS = [
    *("4", "4 ", "41-", "4111 1111 1111 1111 ", "1.2.", "::", "a:", "a@", "a.", "%41", "QUJD", "34 "),
    *("card ", "phone: ", "name is A", "Mr. A", "Ann B", "12 Rue de ", "is 1", "=", '"a" + ', "password="),
    *("/", "+", "(", "\u0664", "\u200b", "é", "born 1/1/1980 ", "DE89 3704 ", "12:34:", "www.", "http://"),
    *("0x", "x" * 50 + " "),
]


@pytest.mark.parametrize("unit", UNITS)
def test_twice_the_text_is_at_most_about_twice_the_work(unit: str) -> None:
    once, twice = (unit * (size // len(unit)) for size in (4 << 10, 8 << 10))
    spans(once)
    assert _calls(twice) <= 2.5 * _calls(once) + 500


def test_what_is_kept_of_a_long_text_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the text, its candidates are judged and forgotten about a megabyte at a time."""
    judged: list[int] = []

    def counted(candidates: Iterable[Candidate]) -> NumberRules:
        several = list(candidates)
        judged.append(len(several))
        return NumberRules(several)

    monkeypatch.setattr(scanner_module, "NumberRules", counted)
    cards = 1000
    assert not spans(("-" * 4000 + " 4111111111111112 ") * cards)
    assert sum(judged) >= cards
    assert max(judged) < cards / 2


def _calls(text: str) -> int:
    """How many functions a scan calls; RE2's own work is linear in what it is shown."""
    calls = 0

    def count(_frame: FrameType, event: str, _of: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    spans(text)
    sys.setprofile(None)
    return calls
