"""A pattern is left out of a search only where it cannot match, whatever the texts are."""

from collections.abc import Sequence
from math import inf
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_platform.scan.alphabet import ASCII, DIGITS, EVERY, LOWER, OTHERS, UPPER, WORD, mask, needs
from secure_platform.scan.first_look import WORTH_IT, FirstLook, Search, alphabet_of
from secure_platform.scan.forms import FORMS
from secure_platform.scan.patterns import compile_types, parts
from secure_platform.scan.text.columns import PROSE
from secure_platform.taxonomy.info_types import info_types

OURS = [*parts(compile_types(info_types())), *(form.cell for form in FORMS), PROSE]
# Ways of writing that a careless reader gets wrong.
TRICKY = [
    "(?i)k",
    "(?i:\u017f)",
    "(?i)[a-j]s",
    "(?i)[^k]",
    r"[^\w]a",
    r"[^\S]",
    r"[^\p{L}]",
    r"\pN{2}",
    "[]a]b",
    "[^]a]",
    "[a-]{2}",
    r"[\x41-\x43]\x{e9}?",
    "a|b(?i)c|d",
    "(?P<name>a)(?<other>b)?",
    "(?:a|)b{2,3}?c{0,5}d*?e+?",
    r"\Aab\z",
    r"a(?-u:\b)",
    r"(?-u:\b)a|b",
    r"(?m)^a$|\Bb",
    r"(?s).\.\-\ ",
    "}",
    "",
    "a||b",
    r"\d\s\D\W",
]
ALPHABETS = [
    "abk1_",
    "aAkKsS\u017f\u212a",
    "01-. ",
    "tfe0123_",
    'a: ="<[{',
    "éß\u212a 1",
    "ab]-^\n\r\t",
    "\x00~}",
]
TEXTS = st.sampled_from(ALPHABETS).flatmap(lambda letters: st.text(st.sampled_from(letters), max_size=40))


def found(pattern: str, texts: Sequence[str]) -> list[bool]:
    return pl.Series(texts, dtype=pl.String).str.contains(pattern).to_list()


@pytest.mark.parametrize("pattern", OURS)
def test_every_pattern_of_the_platform_is_understood(pattern: str) -> None:
    assert needs(pattern) is not None


@pytest.mark.parametrize(
    "pattern",
    [
        *("[a&&b]", "[a--b]", "[a~~b]", "[[:alpha:]]", "[a[b]]", "(?x)a b", "(?R)a", r"\b{start}a", r"\<a"),
        *(
            r"\u0041",
            r"\Qa",
            "a{2",
            "{2}",
            "*a",
            "(a",
            "a)",
            "[a",
            "(?=a)",
            "[a-\\d]",
            "\\",
            "(" * 60 + ")" * 60,
        ),
        "[a-[b]]",
    ],
)
def test_of_what_is_not_understood_nothing_is_said(pattern: str) -> None:
    assert needs(pattern) is None
    assert Search([pattern, "b"]).within(mask(b"1"), 1) == f"(?:{pattern})"


@pytest.mark.parametrize(
    ("pattern", "alphabet", "shortest"),
    [
        ("abc", LOWER, 3),
        ("abc", mask(b"ab"), inf),
        ("a{3,}b?", LOWER, 3),
        ("(?:ab|c)+d", LOWER, 2),
        ("(?:ab|c)+d", mask(b"abd"), 3),
        ("(?i)K", OTHERS, 1),
        ("(?i)a", UPPER, 1),
        ("a", UPPER, inf),
        (r"\d", OTHERS, 1),
        ("[^a]", mask(b"a"), inf),
        (r"[^\d]", DIGITS, inf),
        (r"[^\p{L}]", LOWER, 1),
        (".", 1 << ASCII, 1),
    ],
)
def test_the_shortest_match_is_of_the_characters_that_there_are(
    pattern: str, alphabet: int, shortest: float
) -> None:
    need = needs(pattern)

    assert need is not None
    assert need.shortest(alphabet) == shortest


@settings(max_examples=500, deadline=None)
@given(pattern=st.sampled_from([*TRICKY, *OURS]), texts=st.lists(TEXTS, min_size=1, max_size=20))
def test_what_matches_has_what_is_needed(pattern: str, texts: list[str]) -> None:
    assert_sound(pattern, [text for text, match in zip(texts, found(pattern, texts), strict=True) if match])


@settings(max_examples=800, deadline=None)
@given(pattern=st.sampled_from(OURS), data=st.data())
def test_what_is_made_to_match_has_what_is_needed(pattern: str, data: st.DataObject) -> None:
    """Texts are made of the sets that were read, so that most of them match."""
    made = "".join(made_by(needs(pattern), data))
    texts = [made, f" {made} ", made.upper(), made.replace("k", "\u212a")]

    assert_sound(pattern, [text for text, match in zip(texts, found(pattern, texts), strict=True) if match])


def assert_sound(pattern: str, texts: Sequence[str]) -> None:
    for text in texts:
        alphabet, longest = alphabet_of(pl.Series([text]))
        # A second pattern, for one alone is kept as it is.
        assert found(
            Search([pattern, *["\x01\x02"] * 9]).within(alphabet, longest) or "[^\\s\\S]", [text]
        ) == [True]
        need = needs(pattern)
        assert need is None or need.shortest(alphabet) <= longest


def made_by(need: Any, data: st.DataObject) -> list[str]:
    """A text that the reading of a pattern allows; places are not heeded."""
    if hasattr(need, "branches"):
        return made_by(data.draw(st.sampled_from(need.branches)), data)
    if hasattr(need, "least"):
        times = data.draw(st.integers(need.least, need.least + 2))
        return [each for _ in range(times) for each in made_by(need.part, data)]
    if hasattr(need, "parts"):
        return [each for part in need.parts for each in made_by(part, data)]
    if hasattr(need, "of"):
        likely = [of for of in (need.of & WORD, need.of & EVERY & ~OTHERS) if of]
        of = data.draw(st.sampled_from(likely)) if likely else 0
        places = [place for place in range(ASCII) if of >> place & 1]
        return [chr(data.draw(st.sampled_from(places))) if places else "é"]
    return []


CELLS = [
    "t1_" + "0123456789abcdef" * 2,
    "999-12-3456",
    "jane@mail.example",
    "4111111111111111",
    "please ring",
]


RARE = [*CELLS, "", None, "Ünïcode wörds and möre words", '{"ssn": "999-12-3456"}', "x=1;y=2"]


@pytest.mark.parametrize("rare", RARE)
@pytest.mark.parametrize("usual", [*CELLS, "A01234", "sent", "two words of a title", "é"])
def test_a_batch_shows_what_each_of_its_cells_shows(usual: str, rare: str | None) -> None:
    """The rare cell is the last of many, so that it is in no sample."""
    cells = pl.Series([usual] * (2 * WORTH_IT) + [rare], dtype=pl.String)
    candidates, documents = parts(compile_types(info_types())), [form.cell for form in FORMS]
    look = FirstLook(candidates=Search(candidates), documents=Search(documents), prose=Search([PROSE]))
    row = look.over(pl.LazyFrame({"*": cells}), ["*"]).collect(engine="streaming")["*"].item()
    hits = {
        name: cells.str.contains("|".join(f"(?:{each})" for each in patterns)).fill_null(value=False)
        for name, patterns in {"candidates": candidates, "documents": documents, "prose": [PROSE]}.items()
    }

    assert row["filled"] == len(cells) - cells.null_count()
    assert row["candidates"] == hits["candidates"].sum()
    assert (row["documents"], row["prose"]) == (hits["documents"].any(), hits["prose"].any())


def test_all_characters_of_a_batch_are_seen_however_they_come() -> None:
    """In parts of which each hides the next from a sample, and of a slice of more."""
    letters = [chr(place) for place in range(1, ASCII)]
    rare = pl.Series(["a" * 100_000, *letters, "a" * 100_000, "é"])
    everything = mask(range(1, ASCII)) | OTHERS

    assert alphabet_of(rare) == (everything, 100_000)
    assert alphabet_of(pl.Series(letter * 1000 for letter in [*letters, "é"])) == (everything, 2000)
    assert alphabet_of(rare.slice(1, 3)) == (mask([1, 2, 3]), 1)
    assert alphabet_of(pl.Series(["é", None, "a"])) == (OTHERS | LOWER, 2)
    assert alphabet_of(pl.Series([None, ""], dtype=pl.String)) == (0, 0)
    assert alphabet_of(pl.Series([], dtype=pl.String)) == (0, 0)


def test_texts_of_very_many_kinds_do_not_have_as_many_patterns_compiled() -> None:
    search = Search(f"{left}{right}" for left in "abcdefgh" for right in range(8))
    made = {search.within(mask(f"{left}{right}".encode()), 2) for left in "abcdefgh" for right in range(8)}

    assert len(made) == 17
    assert all(found(pattern, ["h7"]) == [True] for pattern in made if pattern and "h7" in pattern)
