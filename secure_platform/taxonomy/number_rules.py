"""Number rules that are applied value by value: python-stdnum's, and our own where it has none.

A rule takes the text as it was found and answers yes or no; it never raises and never shows the text. Each of
our own names its public source. They are slow beside expressions (25-500 thousand a second), so the scan asks
them about a sample of candidates.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from string import ascii_uppercase, digits
from types import MappingProxyType
from typing import Final

NumberRule = Callable[[str], bool]

_ALPHANUMERIC: Final = digits + ascii_uppercase
# I, O and Q are not used in vehicle numbers.
_VIN_VALUES: Final = {
    **{digit: int(digit) for digit in digits},
    **dict(zip("ABCDEFGH", range(1, 9), strict=True)),
    **dict(zip("JKLMN", range(1, 6), strict=True)),
    **{"P": 7, "R": 9},
    **dict(zip("STUVWXYZ", range(2, 10), strict=True)),
}


def us_dea(number: str) -> bool:
    """DEA registration of a prescriber: (1st + 3rd + 5th) + 2 x (2nd + 4th + 6th digit) ends in the 7th.

    Source: DEA Office of Diversion Control, DEA number verification, as in 21 CFR 1301.
    """
    number = _compact(number)
    if len(number) != 9 or not number[2:].isdecimal():
        return False
    places = [int(digit) for digit in number[2:]]
    return (sum(places[0:6:2]) + 2 * sum(places[1:6:2])) % 10 == places[6]


def vin(number: str) -> bool:
    """Vehicle identification number with the check digit of North America in place 9.

    Source: ISO 3779; 49 CFR 565.15(c), table III-V.
    """
    number = _compact(number)
    if len(number) != 17 or not set(number) <= _VIN_VALUES.keys():
        return False
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum(_VIN_VALUES[letter] * weight for letter, weight in zip(number, weights, strict=True))
    return "0123456789X"[total % 11] == number[8]


def iccid(number: str) -> bool:
    """Number of a SIM card: 89, then up to 18 digits, the last by Luhn. Source: ITU-T E.118."""
    number = _compact(number)
    return number.startswith("89") and len(number) in {19, 20} and _stdnum("luhn")(number)


def uk_nino(number: str) -> bool:
    """Prefixes of a National Insurance number that are in use.

    Source: HMRC National Insurance Manual NIM39110.
    """
    number = _compact(number)
    letters_fit = number[:1] not in set("DFIQUV") and number[1:2] not in set("DFIOQUV")
    return letters_fit and number[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"} and len(number) == 9


def de_social_security(number: str) -> bool:
    """German pension insurance number: digit sums of weighted places, modulo 10.

    Source: VKVV section 4 (Versicherungsnummern-, Kontoführungs- und Versicherungsverlaufsverordnung).
    """
    number = _compact(number)
    if len(number) != 12 or not number[8].isalpha() or not (number[:8] + number[9:]).isdecimal():
        return False
    places = number[:8] + _two_digits(number[8]) + number[9:11]
    return _digit_sums(places, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)) % 10 == int(number[11])


def de_health_insurance(number: str) -> bool:
    """Unchanging part of a German health insurance number: digit sums of weighted places, modulo 10.

    Source: SGB V section 290; Vertrauensstelle Krankenversichertennummer, construction of the number.
    """
    number = _compact(number)
    if len(number) != 10 or not number[0].isalpha() or not number[1:].isdecimal():
        return False
    return _digit_sums(_two_digits(number[0]) + number[1:9], (1, 2) * 5) % 10 == int(number[9])


def ru_snils(number: str) -> bool:
    """Russian pension insurance number: weighted sum modulo 101. Source: PFR resolution 192p of 2006."""
    number = _compact(number)
    if len(number) != 11 or not number.isdecimal():
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, range(9, 0, -1), strict=False))
    return total % 101 % 100 == int(number[9:])


def mx_clabe(number: str) -> bool:
    """Mexican bank account number: weights 3, 7, 1 place by place, modulo 10. Source: Banco de México."""
    number = _compact(number)
    if len(number) != 18 or not number.isdecimal():
        return False
    total = sum(int(digit) * weight % 10 for digit, weight in zip(number, (3, 7, 1) * 6, strict=True))
    return total % 10 == 0


def au_medicare(number: str) -> bool:
    """Australian Medicare card: weights 1, 3, 7, 9 over eight digits, modulo 10, in place nine.

    Source: Services Australia, Medicare card number format; METeOR 270101.
    """
    number = _compact(number)
    if len(number) not in {10, 11} or not number.isdecimal() or number[0] not in "23456":
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, (1, 3, 7, 9) * 2, strict=False))
    return total % 10 == int(number[8])


def nz_nhi(number: str) -> bool:
    """New Zealand health number, both formats. Source: HISO 10046:2023, appendix on the check character."""
    number = _compact(number)
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    if len(number) != 7 or not set(number) <= set(alphabet + digits):
        return False
    values = [alphabet.index(sign) + 1 if sign.isalpha() else int(sign) for sign in number[:6]]
    total = sum(value * weight for value, weight in zip(values, range(7, 1, -1), strict=True))
    if number[6].isdecimal():
        return total % 11 != 0 and (11 - total % 11) % 10 == int(number[6])
    return alphabet[23 - total % 24] == number[6]


def sg_nric(number: str) -> bool:
    """Singaporean identity number: weights 2, 7, 6, 5, 4, 3, 2, modulo 11, as a letter.

    Source: the publicly described algorithm; the series M of 2022 is accepted by its form, for its own is not.
    """
    number = _compact(number)
    if len(number) != 9 or not number[1:8].isdecimal() or number[0] not in "STFGM":
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    rest = (total + (4 if number[0] in "TG" else 0)) % 11
    letters = "JZIHGFEDCBA" if number[0] in "ST" else "XWUTRQPNMLK"
    return number[0] == "M" or letters[rest] == number[8]


def hk_hkid(number: str) -> bool:
    """Hong Kong identity card: weights 9 to 2, a blank counting 36, modulo 11.

    Source: Immigration Department, the check digit in brackets.
    """
    number = _compact(number).replace("(", "").replace(")", "").rjust(9)
    if len(number) != 9 or not number[2:8].isdecimal() or not set(number.strip()) <= set(_ALPHANUMERIC):
        return False
    values = [36 if sign == " " else _ALPHANUMERIC.index(sign) for sign in number]
    total = sum(value * weight for value, weight in zip(values, (9, 8, 7, 6, 5, 4, 3, 2, 1), strict=True))
    return total % 11 == 0


def tw_nid(number: str) -> bool:
    """Taiwanese identity number: the letter as two digits, weights 1, 9 to 1, 1, modulo 10.

    Source: Ministry of the Interior, numbering of national identity cards.
    """
    number = _compact(number)
    if len(number) != 10 or number[0] not in ascii_uppercase or not number[1:].isdecimal():
        return False
    letter = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    values = [letter // 10, letter % 10, *map(int, number[1:])]
    return sum(v * w for v, w in zip(values, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0


def passport_mrz(line: str) -> bool:
    """Second line of a passport: check digits of number, birth, expiry and the whole.

    Source: ICAO Doc 9303 part 3, section 4.9, and part 4.
    """
    if len(line) != 44:
        return False
    parts = (line[:9], line[13:19], line[21:27], line[:10] + line[13:20] + line[21:43])
    return all(
        _mrz(part) == check
        for part, check in zip(parts, line[9] + line[19] + line[27] + line[43], strict=True)
    )


def crypto_address(address: str) -> bool:
    """Bitcoin address with its checksum, or the form of an Ethereum address, whose checksum is optional."""
    return address.startswith("0x") or _stdnum("bitcoin")(address)


def _compact(number: str) -> str:
    return "".join(sign for sign in number.upper() if sign.isalnum() or sign in "()")


def _two_digits(letter: str) -> str:
    return f"{ascii_uppercase.index(letter) + 1:02d}" if letter in ascii_uppercase else "00"


def _digit_sums(places: str, weights: tuple[int, ...]) -> int:
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
            return bool(_stdnum(module)(number.strip(" \t\r\n\"'")))
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
