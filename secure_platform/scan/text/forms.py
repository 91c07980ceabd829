"""The formats of the taxonomy for a search in text with RE2: linear in the text, whoever wrote them.

A form is worth what it takes to find it: alone, near a word that speaks of the type, or right behind a label.
Probes decide that, not lists: a form that fits words is only believed behind a label with a colon, one that
fits years and amounts behind a label, and any other near a keyword.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from secure_platform.scan.secrets.linear import Pattern, compile_pattern
from secure_platform.taxonomy.info_types import InfoType
from secure_platform.taxonomy.validators import VALIDATORS, Validator

_WORDS: Final = (b"word", b"Name", b"is", b"the", b"whatever", b"some text")
_COMMON: Final = (b"2024", b"12345", b"10.50", b"12:30", b"1,000", b"99", b"1994", b"A12")

# A value is no part of a longer number, word, version or host.
_BEFORE: Final = r"(?:^|[^0-9A-Za-z_.-]|[^0-9A-Za-z_.]-)"
_BEHIND: Final = r"(?:$|[^0-9A-Za-z_.-]|[.-](?:$|[^0-9a-z]))"

_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_QUAD: Final = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_ZONE: Final = "(?: ?[AaPp][Mm]|Z|[+-][0-9]{2}:?[0-9]{2})?"
_CLOCK: Final = rf"(?:[T ][0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{{1,9}})?)?{_ZONE})?"
_DAY: Final = "(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH: Final = "(?:0?[1-9]|1[0-2])"
_YEAR: Final = "(?:1[89]|20)[0-9]{2}"
_MONTHS: Final = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_NTH: Final = rf"{_DAY}(?:st|nd|rd|th)?"
_IN_WORDS: Final = rf"(?i){_NTH}(?: of)?[ -]{_MONTHS},?[ -]{_YEAR}|{_MONTHS} {_NTH},? {_YEAR}"
# Five digits, whatever parts them: what every form that a keyword makes believable has.
NUMBER: Final = r"[0-9](?:[ .,/()-]{0,2}[A-Za-z]?[0-9]){4}"
_EXTENSION: Final = r"(?: ?(?:x|ext\.? ?|#)[0-9]{1,6})?"

# What a text shows beyond the cells that the taxonomy describes, or within what its patterns would swallow.
_SURE: Final[Mapping[str, tuple[str, ...]]] = {
    "CREDIT_CARD": (
        r"[0-9](?:[ -]?[0-9]){11,31}",
        r"[0-9]{4}(?:(?:[._/,-]|[ \t]{1,2}|[ -]?\r?\n)[0-9]{1,6}){2,7}",
        r"[A-Za-z]{2,12}_?[0-9]{15,16}",
    ),
    "DATE": (
        rf"{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}{_CLOCK}",
        rf"{_DAY}[./-]{_MONTH}[./-]{_YEAR}{_CLOCK}|{_MONTH}[/-]{_DAY}[/-]{_YEAR}{_CLOCK}",
        _IN_WORDS,
    ),
    "IPV4": (rf"{_QUAD}(?:/[0-9]{{1,2}})?",),
    "IPV6": (rf"[0-9A-Fa-f]{{0,4}}(?::[0-9A-Fa-f]{{0,4}}){{2,7}}(?:{_QUAD})?(?:/[0-9]+)?",),
    "MAC_ADDRESS": ("[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})",),
    "PHONE": (
        rf"\+1[ .-]?(?:\([0-9]{{3}}\) ?|[0-9]{{3}}[ .-]?)[0-9]{{3}}[ .-]?[0-9]{{4}}{_EXTENSION}",
        rf"\+[1-9](?:[ ()./-]{{0,3}}[0-9]){{7,14}}{_EXTENSION}",
        rf"(?:(?:001|1)[ .-])?(?:\([0-9]{{3}}\) ?|[0-9]{{3}}[.-])[0-9]{{3}}[ .-][0-9]{{4}}{_EXTENSION}",
    ),
    "URL": (r"""(?i)(?:https?|ftps?)://[^\s<>"'`{}|\\^]+[^\s<>"'`{}|\\^.,;:!?)\]]|www\.[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[^\s<>"']*[^\s<>"'.,;:!?)])?""",),
}  # fmt: skip
_LIKELY: Final[Mapping[str, tuple[str, ...]]] = {
    "PHONE": (rf"\(?[0-9+](?:[()]?[ ./-]{{0,2}}[()]?[0-9]){{6,14}}{_EXTENSION}",),
    "DATE_OF_BIRTH": (
        rf"{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}|{_DAY}[./-]{_DAY}[./-](?:{_YEAR}|[0-9]{{2}})",
        _IN_WORDS,
    ),
}


@dataclass(frozen=True)
class Form:
    """One format of a type; group 1 of its pattern is the value."""

    pattern: Pattern
    text: str = field(repr=False)


@dataclass(frozen=True)
class Forms:
    """The formats of one type, by what must stand beside them.

    Attributes:
        alone: Nothing.
        near: A keyword.
        labelled: A label right before it, such as `is`.
        assigned: A label with a colon or an equals sign.
        rule: The number rule that values must keep.
    """

    kind: InfoType
    alone: tuple[Form, ...]
    near: tuple[Form, ...]
    labelled: tuple[Form, ...]
    assigned: tuple[Form, ...]

    @property
    def rule(self) -> Validator | None:
        """The number rule that values must keep."""
        return VALIDATORS[self.kind.validator] if self.kind.validator else None


def forms_of(kind: InfoType) -> Forms:
    """The formats of a type.

    Raises:
        UsageError: If a pattern of the type is not one that RE2 can run; names the type.
    """
    whole = [pattern[1:-1] for pattern in kind.value_patterns]
    named = [pattern[1:-1] for pattern in kind.header_patterns]
    alone = list(_SURE.get(kind.id, ())) or _alone(kind, whole)
    near = list(_LIKELY.get(kind.id, ()))
    labelled, assigned = list(near), list(near)
    for body in dict.fromkeys([*alone, *whole, *named]):
        fits = compile_pattern(_re2(body), kind.id).fullmatch
        assigned.append(body)
        if not any(map(fits, _WORDS)):
            labelled.append(body)
            if kind.group == "identifier" and not any(map(fits, _COMMON)) and not _LIKELY.get(kind.id):
                near.append(body)
    own = tuple(_compiled(kind, body) for body in alone)
    return Forms(kind, own, *(_joined(kind, bodies) for bodies in (near, labelled, assigned)))


def _alone(kind: InfoType, whole: Iterable[str]) -> list[str]:
    if kind.text_pattern:
        return [kind.text_pattern]
    return [body for body in whole if not body.endswith(".*)?")]


def _joined(kind: InfoType, bodies: Iterable[str]) -> tuple[Form, ...]:
    return tuple(_compiled(kind, body) for body in dict.fromkeys(bodies))


def _compiled(kind: InfoType, body: str) -> Form:
    text = f"{_BEFORE}({_re2(body)}){_BEHIND}"
    return Form(compile_pattern(text, f"info type {kind.id}"), text)


def _re2(body: str) -> str:
    """RE2 knows one word boundary, the ASCII one."""
    return body.replace(r"(?-u:\b)", r"\b")


def forms(types: Mapping[str, InfoType]) -> tuple[Forms, ...]:
    """The formats of all types that have one; secrets have rules of their own."""
    return tuple(forms_of(kind) for kind in types.values() if kind.group != "secret")
