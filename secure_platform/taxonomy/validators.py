"""Checksums and number rules as Polars expressions: text in, true or false out, null for null.

An expression never raises on a value and never shows one. Each rule names its public source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from types import MappingProxyType
from typing import Final

import polars as pl

from secure_platform.taxonomy.number_rules import OWN_RULES, NumberRule, library_rule

LONGEST_CARD: Final = 19
LUHN_CHANCE: Final = 0.1
# An IBAN has at most 34 characters, two digits each; 97 times a piece fits 64 bits.
_PIECE: Final = 9
_PIECES: Final = 8
_PADDING: Final = " \t\r\n\"'"

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
    """A rule and how often a random number in the right format keeps it by chance.

    Attributes:
        sampled: The rule is asked value by value, so a scan asks it about some candidates only.
    """

    check: Rule
    chance: float
    sampled: bool = False


def luhn(digits: pl.Expr) -> pl.Expr:
    """Whether a string of at most 19 digits ends in its check digit (ISO/IEC 7812-1 annex B)."""
    padded = digits.str.zfill(LONGEST_CARD)
    total = pl.lit(0, dtype=pl.Int32)
    for place in range(LONGEST_CARD):
        digit = padded.str.slice(LONGEST_CARD - 1 - place, 1).cast(pl.Int32, strict=False)
        doubled = digit * 2
        total = total + (digit if place % 2 == 0 else doubled // 10 + doubled % 10)
    return (digits.str.len_bytes() <= LONGEST_CARD) & (total % 10 == 0)


def payment_card(text: pl.Expr) -> pl.Expr:
    """Issuer range, its lengths and the check digit of a payment card number.

    Separators are ignored, and a word right before the number, as in `PAN4111111111111111`.

    Source: ISO/IEC 7812-1; issuer ranges as published by the networks: Visa 4; Mastercard 51-55, 2221-2720;
    Mir 2200-2204; American Express 34, 37; Diners 300-305, 3095, 36, 38, 39; JCB 3528-3589, 2131, 1800; Troy
    9792; Discover, UnionPay and Maestro 6, 81, 50, 56-58.
    """
    digits = text.str.replace_all(r"""^[ \t\r\n"']*[A-Za-z]{2,12}_?|[ \t\r\n"'._/,-]""", "")
    issuer = digits.str.contains(
        r"^(?:4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
        r"|5[1-5][0-9]{14}"
        r"|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
        r"|220[0-4][0-9]{12,15}"
        r"|9792[0-9]{12}"
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
    return text.str.contains(f"^[^0-9]*{area}[^0-9]{{0,3}}{group}[^0-9]{{0,3}}{serial}[^0-9]*$")


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


def value_by_value(rule: NumberRule) -> Rule:
    """A rule that is no expression, asked once about each different value without its padding and quotes."""

    def answers(values: pl.Series) -> pl.Series:
        different = values.drop_nulls().unique()
        said = [rule(value.strip(_PADDING)) for value in different]
        return values.replace_strict(different, said, default=None, return_dtype=pl.Boolean)

    return lambda text: text.map_batches(answers, return_dtype=pl.Boolean, is_elementwise=True)


def _sampled(chances: Mapping[str, float]) -> dict[str, Validator]:
    rules = {name: OWN_RULES.get(name) or library_rule(name.removeprefix("stdnum.")) for name in chances}
    return {
        name: Validator(value_by_value(rules[name]), chance, sampled=True) for name, chance in chances.items()
    }


# Measured on random texts of the formats that use the rule, as a test does again.
_CHANCES: Final = {
    "au_medicare": 0.1,
    "crypto_address": 0.5,
    "de_health_insurance": 0.1,
    "de_social_security": 0.1,
    "hk_hkid": 0.09,
    "iccid": 0.1,
    "mx_clabe": 0.1,
    "nz_nhi": 0.06,
    "passport_mrz": 0.001,
    "ru_snils": 0.01,
    "sg_nric": 0.042,
    "stdnum.ar.cuit": 0.1,
    "stdnum.ar.dni": 1,
    "stdnum.at.vnr": 0.09,
    "stdnum.au.tfn": 0.09,
    "stdnum.be.nn": 0.008,
    "stdnum.bg.egn": 0.008,
    "stdnum.bic": 0.36,
    "stdnum.br.cnpj": 0.011,
    "stdnum.br.cpf": 0.011,
    "stdnum.ca.sin": 0.08,
    "stdnum.ch.ssn": 0.1,
    "stdnum.cl.rut": 0.1,
    "stdnum.cn.ric": 0.001,
    "stdnum.cz.rc": 0.2,
    "stdnum.de.idnr": 0.003,
    "stdnum.dk.cpr": 0.39,
    "stdnum.do.cedula": 0.1,
    "stdnum.ec.ci": 0.02,
    "stdnum.ee.ik": 0.004,
    "stdnum.es.dni": 0.046,
    "stdnum.es.nie": 0.045,
    "stdnum.eu.vat": 0.001,
    "stdnum.fi.hetu": 0.014,
    "stdnum.fr.nif": 0.002,
    "stdnum.fr.nir": 0.009,
    "stdnum.gb.nhs": 0.1,
    "stdnum.gb.utr": 0.049,
    "stdnum.gr.amka": 0.049,
    "stdnum.hr.oib": 0.1,
    "stdnum.id.nik": 0.035,
    "stdnum.ie.pps": 0.013,
    "stdnum.il.idnr": 0.09,
    "stdnum.imei": 0.55,
    "stdnum.imsi": 0.24,
    "stdnum.in_.aadhaar": 0.1,
    "stdnum.in_.epic": 0.09,
    "stdnum.in_.pan": 1,
    "stdnum.is_.kennitala": 0.002,
    "stdnum.it.codicefiscale": 0.03,
    "stdnum.jp.in_": 0.1,
    "stdnum.ke.pin": 1,
    "stdnum.kr.rrn": 0.044,
    "stdnum.lei": 0.007,
    "stdnum.lt.asmens": 0.005,
    "stdnum.meid": 0.31,
    "stdnum.mx.curp": 0.001,
    "stdnum.mx.rfc": 0.038,
    "stdnum.my.nric": 0.4,
    "stdnum.nl.bsn": 0.07,
    "stdnum.no.fodselsnummer": 0.002,
    "stdnum.nz.ird": 0.045,
    "stdnum.pk.cnic": 0.9,
    "stdnum.pl.pesel": 0.017,
    "stdnum.pt.cc": 0.1,
    "stdnum.pt.nif": 0.1,
    "stdnum.ro.cnp": 0.002,
    "stdnum.ru.inn": 0.05,
    "stdnum.se.personnummer": 0.02,
    "stdnum.si.emso": 0.05,
    "stdnum.th.pin": 0.11,
    "stdnum.tr.tckimlik": 0.009,
    "stdnum.ua.rntrc": 0.1,
    "stdnum.us.ein": 0.84,
    "stdnum.us.itin": 0.17,
    "stdnum.us.ptin": 1,
    "stdnum.us.rtn": 0.013,
    "stdnum.za.idnr": 0.001,
    "tw_nid": 0.1,
    "uk_nino": 0.98,
    "us_dea": 0.1,
    "vin": 0.09,
}

VALIDATORS: Final[Mapping[str, Validator]] = MappingProxyType(
    {
        "payment_card": Validator(payment_card, LUHN_CHANCE),
        "us_ssn": Validator(us_ssn, 0.89),
        "iban": Validator(iban, 1 / 97),
        "us_npi": Validator(us_npi, LUHN_CHANCE),
        **_sampled(_CHANCES),
    }
)
