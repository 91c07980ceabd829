"""Number rules that are applied value by value: python-stdnum's, and our own where it has none.

A rule takes the text as it was found and answers yes or no; it never raises and never shows the text. Each of
our own names its public source. They are slow beside expressions (25-500 thousand a second), so the scan asks
them about a sample of candidates.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from importlib import import_module
from string import ascii_uppercase, digits
from types import MappingProxyType
from typing import Final

NumberRule = Callable[[str], bool]

_ALPHANUMERIC: Final = digits + ascii_uppercase
# Without I, O and Q, which vehicle numbers do not use.
_VIN_VALUES: Final = dict(
    zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", "012345678912345678123457923456789", strict=True)
)
# Without I and O, which New Zealand's health numbers do not use.
_NHI_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def _of_form(form: str) -> Callable[[NumberRule], NumberRule]:
    """The rule is asked about numbers of this form only, in capitals and without separators."""
    whole = re.compile(form)

    def restricted(rule: NumberRule) -> NumberRule:
        @wraps(rule)
        def answer(number: str) -> bool:
            compact = "".join(sign for sign in number.upper() if sign.isalnum())
            return bool(whole.fullmatch(compact)) and rule(compact)

        return answer

    return restricted


@_of_form("[A-Z][A-Z9][0-9]{7}")
def us_dea(number: str) -> bool:
    """DEA registration of a prescriber: (1st + 3rd + 5th) + 2 x (2nd + 4th + 6th digit) ends in the 7th.

    Source: DEA Office of Diversion Control, DEA number verification, as in 21 CFR 1301.
    """
    return _weighted(number[2:8], (1, 2, 1, 2, 1, 2)) % 10 == int(number[8])


@_of_form("[A-HJ-NPR-Z0-9]{17}")
def vin(number: str) -> bool:
    """Vehicle identification number with the check digit of North America in place 9.

    Source: ISO 3779; 49 CFR 565.15(c), table III-V.
    """
    values = "".join(_VIN_VALUES[sign] for sign in number)
    total = _weighted(values, (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2))
    return "0123456789X"[total % 11] == number[8]


@_of_form("89[0-9]{17,18}")
def iccid(number: str) -> bool:
    """Number of a SIM card: 89, then up to 18 digits, the last by Luhn. Source: ITU-T E.118."""
    return _stdnum("luhn")(number)


@_of_form("(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][0-9]{6}[A-D]")
def uk_nino(number: str) -> bool:  # noqa: ARG001 - the form is the whole rule
    """Letters of a National Insurance number that are in use. Source: HMRC manual NIM39110."""
    return True


@_of_form("[0-9]{8}[A-Z][0-9]{3}")
def de_social_security(number: str) -> bool:
    """German pension insurance number: digit sums of weighted places, modulo 10.

    Source: VKVV section 4 (Versicherungsnummern-, Kontoführungs- und Versicherungsverlaufsverordnung).
    """
    places = number[:8] + _two_digits(number[8]) + number[9:11]
    return _digit_sums(places, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)) % 10 == int(number[11])


@_of_form("[A-Z][0-9]{9}")
def de_health_insurance(number: str) -> bool:
    """Unchanging part of a German health insurance number: digit sums of weighted places, modulo 10.

    Source: SGB V section 290; Vertrauensstelle Krankenversichertennummer, construction of the number.
    """
    return _digit_sums(_two_digits(number[0]) + number[1:9], (1, 2) * 5) % 10 == int(number[9])


@_of_form("[0-9]{11}")
def ru_snils(number: str) -> bool:
    """Russian pension insurance number: weighted sum modulo 101. Source: PFR resolution 192p of 2006."""
    return _weighted(number[:9], range(9, 0, -1)) % 101 % 100 == int(number[9:])


@_of_form("[0-9]{18}")
def mx_clabe(number: str) -> bool:
    """Mexican bank account number: weights 3, 7, 1 place by place, modulo 10. Source: Banco de México."""
    return _weighted(number, (3, 7, 1) * 6) % 10 == 0


@_of_form("[2-6][0-9]{9,10}")
def au_medicare(number: str) -> bool:
    """Australian Medicare card: weights 1, 3, 7, 9 over eight digits, modulo 10, in place nine.

    Source: Services Australia, Medicare card number format; METeOR 270101.
    """
    return _weighted(number[:8], (1, 3, 7, 9) * 2) % 10 == int(number[8])


@_of_form("[A-HJ-NP-Z]{3}(?:[0-9]{4}|[0-9]{2}[A-HJ-NP-Z]{2})")
def nz_nhi(number: str) -> bool:
    """New Zealand health number: modulo 11 with a digit, modulo 23 with a letter at the end.

    Source: HISO 10046:2023, appendix on the check character.
    """
    values = [_NHI_LETTERS.index(sign) + 1 if sign.isalpha() else int(sign) for sign in number[:6]]
    total = sum(value * weight for value, weight in zip(values, range(7, 1, -1), strict=True))
    if number[6].isalpha():
        return _NHI_LETTERS[22 - total % 23] == number[6]
    return total % 11 != 0 and (11 - total % 11) % 10 == int(number[6])


@_of_form("[STFGM][0-9]{7}[A-Z]")
def sg_nric(number: str) -> bool:
    """Singaporean identity number: weights 2, 7, 6, 5, 4, 3, 2, modulo 11, as a letter.

    Source: the publicly described algorithm; the series M of 2022 is accepted by its form.
    """
    rest = (_weighted(number[1:8], (2, 7, 6, 5, 4, 3, 2)) + 4 * (number[0] in "TG")) % 11
    letters = "JZIHGFEDCBA" if number[0] in "ST" else "XWUTRQPNMLK"
    return number[0] == "M" or letters[rest] == number[8]


@_of_form("[A-Z]{1,2}[0-9]{6}[0-9A]")
def hk_hkid(number: str) -> bool:
    """Hong Kong identity card: weights 9 to 2, a blank counting 36, modulo 11.

    Source: Immigration Department, the check digit in brackets.
    """
    values = [36 if sign == " " else _ALPHANUMERIC.index(sign) for sign in number.rjust(9)]
    return sum(value * weight for value, weight in zip(values, range(9, 0, -1), strict=True)) % 11 == 0


@_of_form("[A-Z][0-9]{9}")
def tw_nid(number: str) -> bool:
    """Taiwanese identity number: the letter as two digits, weights 1, 9 to 1, 1, modulo 10.

    Source: Ministry of the Interior, numbering of national identity cards.
    """
    letter = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    return _weighted(f"{letter}{number[1:]}", (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)) % 10 == 0


def passport_mrz(line: str) -> bool:
    """Second line of a passport: check digits of number, birth, expiry and the whole.

    Source: ICAO Doc 9303 part 3, section 4.9, and part 4.
    """
    parts = (line[:9], line[13:19], line[21:27], line[:10] + line[13:20] + line[21:43])
    checks = line[9:10] + line[19:20] + line[27:28] + line[43:]
    return "".join(map(_mrz, parts)) == checks


def crypto_address(address: str) -> bool:
    """Bitcoin address with its checksum, or the form of an Ethereum address, whose checksum is optional."""
    return address.startswith("0x") or library_rule("bitcoin")(address)


def _two_digits(letter: str) -> str:
    return f"{ascii_uppercase.index(letter) + 1:02d}"


def _weighted(places: str, weights: Iterable[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(places, weights, strict=True))


def _digit_sums(places: str, weights: Iterable[int]) -> int:
    products = (int(digit) * weight for digit, weight in zip(places, weights, strict=True))
    return sum(product // 10 + product % 10 for product in products)


def _mrz(text: str) -> str:
    values = (0 if sign == "<" else _ALPHANUMERIC.find(sign) for sign in text)
    return str(sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values)) % 10)


@cache
def _stdnum(module: str) -> NumberRule:
    """The rule of a module of python-stdnum, which is imported when it is first asked."""
    valid: NumberRule = import_module(f"stdnum.{module}").is_valid
    return valid


def library_rule(module: str) -> NumberRule:
    """The rule of a module of python-stdnum; where the library stumbles over a number, it is none."""

    def valid(number: str) -> bool:
        try:
            return bool(_stdnum(module)(number))
        except Exception:  # noqa: BLE001 - a defect for one number must not stop a scan
            return False

    return valid


OWN_RULES: Final[Mapping[str, NumberRule]] = MappingProxyType(
    {
        rule.__name__: rule
        for rule in (
            *(us_dea, vin, iccid, uk_nino, de_social_security, de_health_insurance, ru_snils, mx_clabe),
            *(au_medicare, nz_nhi, sg_nric, hk_hkid, tw_nid, passport_mrz, crypto_address),
        )
    }
)
