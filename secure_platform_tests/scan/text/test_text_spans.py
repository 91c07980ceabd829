"""What the text scanner finds, where, and what it leaves alone."""

import base64
import random
from itertools import pairwise
from urllib.parse import quote

import pytest
from text_spans import found, kinds, scanner, spans

from secure_platform.scan.text.scanner import TextScanner
from secure_platform.scan.text.spans import NEAR, RULE
from secure_platform.taxonomy.info_types import info_types

IBAN = "ES91 2100 0418 4502 0005 1332"
MAIL = "ada.lovelace@example.org"
CARD = "4111 1111 1111 1111"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I pay with 4111-1111-1111-1111, exp 12/29.", [("4111-1111-1111-1111", "CREDIT_CARD")]),
        ("His SSN is 536-90-4399; hers is not known.", [("536-90-4399", "US_SSN")]),
        (f"Write to {MAIL}.", [(MAIL, "EMAIL")]),
        (f"to {IBAN} THEN wait", [(IBAN, "IBAN")]),
        ("seen from 192.168.10.21 today", [("192.168.10.21", "IPV4")]),
        ("the peer 2001:db8::8a2e:370:7334 left", [("2001:db8::8a2e:370:7334", "IPV6")]),
        ("at 00:1A:2B:3C:4D:5E then", [("00:1A:2B:3C:4D:5E", "MAC_ADDRESS")]),
        (
            "call me at 0494 92 82 32 or 0494 11 22 33",
            [("0494 92 82 32", "PHONE"), ("0494 11 22 33", "PHONE")],
        ),
        ("reached (898)666-3621x0135 at last", [("(898)666-3621x0135", "PHONE")]),
        ("and +46 (0)157 548 89 too", [("+46 (0)157 548 89", "PHONE")]),
        ("Phone:\n60-56-85-91\n", [("60-56-85-91", "PHONE")]),
        ("my zip code is 35350", [("35350", "US_ZIP")]),
        ("her NPI 1234567893 is on file", [("1234567893", "US_NPI")]),
        ("BSN: 111222333 (NL)", [("111222333", "NL_BSN")]),
        ("Steuer-ID 36 574 261 809 liegt vor", [("36 574 261 809", "DE_TAX_ID")]),
        ("she was born on 2/8/1935", [("2/8/1935", "DATE_OF_BIRTH")]),
        ("due on 2018-01-14 03:07:43", [("2018-01-14 03:07:43", "DATE")]),
        ("see https://example.org/a?b=c, please", [("https://example.org/a?b=c", "URL")]),
        ("key AKIAZ7VRQWTUPK3NXY5M in use", [("AKIAZ7VRQWTUPK3NXY5M", "AWS_ACCESS_KEY")]),
        ("电话:0755-8612-3456", [("0755-8612-3456", "PHONE")]),
        ("Mrs. Ada Lovelace came", [("Ada Lovelace", "PERSON_NAME")]),
        ("then Robert van Dijk's house burnt", [("Robert van Dijk", "PERSON_NAME")]),
        ("at 24 Clarke Avenue, Suite 279", [("24 Clarke Avenue, Suite 279", "STREET_ADDRESS")]),
        ("wohnt in der Lindenstraße 12a", [("Lindenstraße 12a", "STREET_ADDRESS")]),
    ],
)
def test_a_value_is_found_where_it_is(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "In 1994 there were 120,000 visitors and 12.50 EUR each.",
        "version 10.2.3.4 of the driver, build 4.4.4.4",
        "id 550e8400-e29b-41d4-a716-446655440000 of 1712345678901",
        "invoice 4111111111111112 and order 20240101123045",
        "std::vector<int> a::b, 12:34:56 and 10:20",
        "SCN-125, acid 123 and 1.3.6.1.4.1.311.21",
        "The quick brown fox jumps over the lazy dog and the city is nice.",
        "chapter 1.2.3.4 is about 3.14159265358979",
        "",
    ],
)
def test_what_only_looks_like_a_value_is_left_alone(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("separator", ["", " ", "-", "\u00a0", "\u2013", "\u2011"])
def test_every_card_number_in_prose_is_found_whatever_parts_its_digits(separator: str) -> None:
    draw = random.Random(11)  # noqa: S311 - the same numbers every time
    texts, expected = [], []
    for prefix, size, groups in (
        *(
            ("4", 13, (4, 4, 5)),
            ("4", 16, (4, 4, 4, 4)),
            ("4", 19, (4, 4, 4, 4, 3)),
            ("51", 16, (4, 4, 4, 4)),
        ),
        *(
            ("2223", 16, (4, 4, 4, 4)),
            ("37", 15, (4, 6, 5)),
            ("36", 14, (4, 6, 4)),
            ("6011", 16, (4, 4, 4, 4)),
        ),
        *(("62", 17, (6, 11)), ("62", 19, (6, 13)), ("50", 12, (4, 4, 4)), ("67", 18, (4, 4, 4, 4, 2))),
        *(("3530", 16, (4, 4, 4, 4)), ("1800", 15, (4, 4, 4, 3)), ("2131", 15, (4, 4, 4, 3))),
    ):
        for _ in range(12):
            number = _valid(prefix, size, draw)
            places = [sum(groups[:index]) for index in range(len(groups) + 1)]
            printed = separator.join(number[first:last] for first, last in pairwise(places))
            texts.append(f"Yes, {printed} was what he told us at 12:30, no. 7")
            expected.append(printed)
    cards = scanner().spans_of(texts)
    covered = [
        [text[s.start : s.end] for s in cards.get(place, []) if s.info_type == "CREDIT_CARD"]
        for place, text in enumerate(texts)
    ]
    assert covered == [[printed] for printed in expected]


@pytest.mark.parametrize("between", [".", "_", "/", ",", "\t", "  ", "\n", "\r\n", "-\n", " \n"])
def test_a_card_is_found_in_its_printed_groups_whatever_is_between_them(between: str) -> None:
    for groups in (CARD.split(), ["3782", "822463", "10005"]):
        number = between.join(groups)
        assert found(f"he paid {number} at once") == [(number, "CREDIT_CARD")]
        wrong = between.join([*groups[:-1], f"{(int(groups[-1]) + 1):04}"])
        assert "CREDIT_CARD" not in kinds(f"he paid {wrong} at once")


def test_a_number_may_be_wrapped_at_the_end_of_a_line_or_glued_to_a_word() -> None:
    assert found("paid with 4111 1111 11\n11 1111 today") == [("4111 1111 11\n11 1111", "CREDIT_CARD")]
    assert found("paid with 4111-1111\n1111-1111 today") == [("4111-1111\n1111-1111", "CREDIT_CARD")]
    assert found("4111.1111.1111.1111\n2024 it was") == [("4111.1111.1111.1111", "CREDIT_CARD")]
    assert found("PAN4111111111111111 and CARD_378282246310005") == [
        ("4111111111111111", "CREDIT_CARD"),
        ("378282246310005", "CREDIT_CARD"),
    ]
    for number in ("536-90-\n4399", "536\n-90-4399", "536/90/4399", "536_90_4399"):
        assert found(f"his is {number}, he says") == [(number, "US_SSN")]
    assert found("SSN536-90-4399 it is") == [("SSN536-90-4399", "US_SSN")]


@pytest.mark.parametrize(
    "text",
    [
        "rows 4111,1111,1111,1111,5500 of the table",
        "rates 4111.1111/1111,1111 of them",
        "at 41111111\n11111111 each",
        "lines 41\n11\n11\n11\n11\n11\n11\n11",
        "parts 4111,1111,1111 and 1111",
        "sizes 4111.11111.1111.111 of it",
        "years 2001/2002/2003/2004 and 1999\t2000\t2001\t2002",
        "build a4b4111111111111111 of e3b0c44298fc1c14",
        "part AB536-90-4399 and 5536/90/43991",
    ],
)
def test_other_groups_of_digits_are_no_card(text: str) -> None:
    assert not kinds(text).keys() & {"CREDIT_CARD", "US_SSN"}


def test_beside_the_word_a_card_may_be_of_any_issuer() -> None:
    number = _valid("99", 16, random.Random(1))  # noqa: S311 - the same
    assert "CREDIT_CARD" not in kinds(f"the number {number} was told")
    assert found(f"my credit card {number} was lost") == [(number, "CREDIT_CARD")]


def test_a_card_beside_other_numbers_is_found_in_the_groups_that_cards_are_printed_in() -> None:
    assert found(f"row 7 {CARD} 12 29 of it") == [(CARD, "CREDIT_CARD")]
    assert found("row 41 1111 1111 1111 1112 29 of it") == []


def test_numbers_side_by_side_are_told_apart() -> None:
    text = f"cards {CARD} 5500 0000 0000 0004 12 29"
    assert found(text) == [(CARD, "CREDIT_CARD"), ("5500 0000 0000 0004", "CREDIT_CARD")]


@pytest.mark.parametrize("zero", [0xFF10, 0x0660, 0x0966, 0x1D7CE, 0x1D7D8])
def test_digits_of_any_script_are_read_and_the_span_is_of_the_original(zero: int) -> None:
    text = CARD.translate({ord("0") + digit: chr(zero + digit) for digit in range(10)})
    assert found(f"ä {text} ü") == [(text, "CREDIT_CARD")]


@pytest.mark.parametrize(
    "text",
    [
        "4111\u200b 1111 11\u200d11 1111",
        "4\u00ad111 1111 1111\u2060 1111",
        "4111\u202f1111\u202f1111\u202f1111",
        "4111\u22121111\u22121111\u22121111",
    ],
)
def test_a_number_is_read_through_invisible_and_unusual_separators(text: str) -> None:
    assert found(f"ä {text} ü") == [(text, "CREDIT_CARD")]


def test_an_address_split_by_invisible_characters_is_one() -> None:
    assert found("to ada.love\u200blace@exam\u200dple.org!") == [
        ("ada.love\u200blace@exam\u200dple.org", "EMAIL")
    ]


@pytest.mark.parametrize(
    ("wrapped", "kind"),
    [
        (base64.b64encode(f"to {MAIL} now".encode()).decode(), "base64"),
        (base64.urlsafe_b64encode(b'{"ssn":"536-90-4399"}').decode(), "base64"),
        (CARD.encode().hex(), "hex"),
        (quote(f"mail={MAIL}", safe=""), "percent-encoding"),
        (base64.b64encode(base64.b64encode(f"to {MAIL} now".encode())).decode(), "base64"),
    ],
)
def test_an_encoded_value_is_seen_and_its_span_is_inside_the_encoding(wrapped: str, kind: str) -> None:
    text = f"blob {wrapped} end"
    (span,) = spans(text)
    assert 5 <= span.start < span.end <= 5 + len(wrapped)
    assert f"seen through {kind}" in span.reasons


def test_the_span_of_an_encoded_value_covers_what_encodes_it_and_no_more() -> None:
    text = "x " + f"pay {CARD} now".encode().hex()
    (span,) = spans(text)
    assert bytes.fromhex(text[span.start : span.end]).decode() == CARD
    text = f"/login?user=7&mail={quote(MAIL)}&next=%2Fhome"
    assert quote(MAIL) in {text[span.start : span.end] for span in spans(text)}


def test_a_word_near_a_number_allows_and_raises_it() -> None:
    assert "UK_NHS" not in kinds("the number 943 476 5919 is known")
    assert {NEAR, RULE} <= set(kinds("NHS number 943 476 5919 is known")["UK_NHS"].reasons)
    alone, beside = kinds(f"told {CARD} today"), kinds(f"card {CARD} today")
    assert beside["CREDIT_CARD"].confidence > alone["CREDIT_CARD"].confidence


def test_a_label_allows_a_number_that_breaks_the_rule_and_a_keyword_does_not() -> None:
    assert "US_SSN" in kinds("SSN: 999-12-3456")
    assert "US_SSN" not in kinds("the SSN that he told us 999-12-3456")


def test_a_narrower_type_stands_for_the_wider_one() -> None:
    assert found("date of birth: 1980-02-03") == [("1980-02-03", "DATE_OF_BIRTH")]


def test_only_the_types_that_are_asked_for_are_found() -> None:
    mail = TextScanner({"EMAIL": info_types()["EMAIL"]})
    text = f"{MAIL} pays {CARD} with AKIAZ7VRQWTUPK3NXY5M"
    assert [span.info_type for span in mail.spans(text)] == ["EMAIL"]


def test_many_texts_are_told_apart_and_nothing_spans_two() -> None:
    texts = [
        "nothing here",
        None,
        f"to {MAIL}",
        "my card is",
        CARD.replace(" ", ""),
        "ä",
        "phone:",
        "5551234567",
    ]
    together = scanner().spans_of(texts)
    apart = {place: spans(text) for place, text in enumerate(texts) if text and spans(text)}
    assert together == apart
    assert set(together) == {2, 4}


def test_a_value_on_the_edge_of_two_pieces_of_a_long_text_is_found_once() -> None:
    for place in range((64 << 10) - 40, (64 << 10) + 10, 7):
        text = "a " * (place // 2) + f" {CARD} and {MAIL} " + "b " * 5000
        assert found(text) == [(CARD, "CREDIT_CARD"), (MAIL, "EMAIL")]


def _valid(prefix: str, size: int, draw: random.Random) -> str:
    """A number of this size that ends in its check digit."""
    body = prefix + "".join(str(draw.randrange(10)) for _ in range(size - len(prefix) - 1))
    total = 0
    for place, digit in enumerate(reversed(body)):
        doubled = int(digit) * 2 if place % 2 == 0 else int(digit)
        total += doubled // 10 + doubled % 10
    return body + str(-total % 10)


def test_a_text_that_begins_with_a_value_is_found_behind_one_that_ends_with_one() -> None:
    texts = [MAIL, MAIL, f"to {MAIL}", IBAN, MAIL, "192.168.10.21", MAIL]
    assert sorted(scanner().spans_of(texts)) == list(range(len(texts)))
