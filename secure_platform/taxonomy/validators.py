"""Checksums and number rules as Polars expressions: text in, true or false out, null for null.

An expression never raises on a value and never shows one. Each rule names its public source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from types import MappingProxyType
from typing import Final

import polars as pl

LONGEST_CARD: Final = 19
LUHN_CHANCE: Final = 0.1
# An IBAN has at most 34 characters, two digits each; 97 times a piece fits 64 bits.
_PIECE: Final = 9
_PIECES: Final = 8

# Length by country: SWIFT's IBAN Registry, and from AO on the countries that use IBANs without being in it.
_IBAN_LENGTHS: Final = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 "
    "DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 "
    "IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 "
    "MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 "
    "SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 AO25 BF28 BJ28 CF27 CG27 CI28 "
    "CM27 CV25 DZ26 GA27 GQ27 GW25 IR26 KM27 MA28 MG27 ML28 MZ25 NE28 SN28 TD27 TG28"
)
_LENGTH_OF: Final = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}


Rule = Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class Validator:
    """A rule and how often a random number in the right format keeps it by chance."""

    check: Rule
    chance: float


def luhn(digits: pl.Expr, *, longest: int = LONGEST_CARD) -> pl.Expr:
    """Whether a string of at most `longest` digits ends in its check digit (ISO/IEC 7812-1 annex B)."""
    padded = digits.str.zfill(longest)
    total = pl.lit(0, dtype=pl.Int32)
    for place in range(longest):
        digit = padded.str.slice(longest - 1 - place, 1).cast(pl.Int32, strict=False)
        doubled = digit * 2
        total = total + (digit if place % 2 == 0 else doubled // 10 + doubled % 10)
    return (digits.str.len_bytes() <= longest) & (total % 10 == 0)


def payment_card(text: pl.Expr) -> pl.Expr:
    """Issuer range, its lengths and the check digit of a payment card number, separators ignored.

    Source: ISO/IEC 7812-1; issuer ranges as published by the networks: Visa 4; Mastercard 51-55, 2221-2720;
    American Express 34, 37; Diners 300-305, 3095, 36, 38, 39; JCB 3528-3589, 2131, 1800; Discover, UnionPay
    and Maestro 6, 81, 50, 56-58.
    """
    digits = _compact(text)
    issuer = digits.str.contains(
        r"^(?:4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
        r"|5[1-5][0-9]{14}"
        r"|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
        r"|3[47][0-9]{13}"
        r"|3(?:0[0-5]|095|[689][0-9])[0-9]{11,16}"
        r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"
        r"|(?:2131|1800)[0-9]{11}"
        r"|6[0-9]{11,18}"
        r"|81[0-9]{14,17}"
        r"|5(?:0|[6-8])[0-9]{10,17})$"
    )
    return issuer & luhn(digits)


def us_ssn(text: pl.Expr) -> pl.Expr:
    """Whether a nine-digit number can have been issued as a Social Security number, separators ignored.

    Source: SSA Program Operations Manual RM 10201.035: no area 000, 666 or 900-999, no group 00, no serial
    0000.
    """
    area = "(?:00[1-9]|0[1-9][0-9]|[1-57-8][0-9]{2}|6(?:[0-57-9][0-9]|6[0-57-9]))"
    group = "(?:0[1-9]|[1-9][0-9])"
    serial = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
    return text.str.contains(f"^[^0-9]*{area}[^0-9]?{group}[^0-9]?{serial}[^0-9]*$")


def iban(text: pl.Expr) -> pl.Expr:
    """Country length and check digits of an IBAN, separators ignored (ISO 13616, ISO/IEC 7064 MOD 97-10)."""
    compact = _compact(text).str.to_uppercase()
    turned = compact.str.slice(4) + compact.str.slice(0, 4)
    digits = turned.str.replace_many(list(ascii_uppercase), [str(10 + place) for place in range(26)])
    padded = digits.str.zfill(_PIECES * _PIECE)
    remainder = pl.lit(0, dtype=pl.Int64)
    for piece in range(_PIECES):
        number = padded.str.slice(piece * _PIECE, _PIECE).cast(pl.Int64, strict=False)
        remainder = (remainder * 10**_PIECE + number) % 97
    expected = compact.str.slice(0, 2).replace_strict(
        list(_LENGTH_OF), list(_LENGTH_OF.values()), default=0, return_dtype=pl.UInt32
    )
    return (compact.str.len_bytes() == expected) & (remainder == 1)


def us_npi(text: pl.Expr) -> pl.Expr:
    """Check digit of a National Provider Identifier: Luhn over the number with 80840 before it.

    Source: CMS, "Requirements for NPI and check digit" (45 CFR 162.406).
    """
    digits = _compact(text)
    return digits.str.contains(r"^[12][0-9]{9}$") & luhn(pl.lit("80840") + digits)


def _compact(text: pl.Expr) -> pl.Expr:
    """Without separators, and without the padding and quotes that a cell may carry."""
    return text.str.replace_all(r"""[ \t\r\n"'-]""", "")


VALIDATORS: Final[Mapping[str, Validator]] = MappingProxyType(
    {
        "payment_card": Validator(payment_card, LUHN_CHANCE),
        "us_ssn": Validator(us_ssn, 0.89),
        "iban": Validator(iban, 1 / 97),
        "us_npi": Validator(us_npi, LUHN_CHANCE),
    }
)
