"""Names of persons, streets and places in prose: what stands around them, how they are built, first names.

The list of first names is the project's own: common ones of some thirty languages. A capitalised word is a
name only beside one of them, behind a title or where somebody is introduced.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

from secure_platform.scan.secrets.linear import Pattern, PatternSet, compile_pattern
from secure_platform.scan.text.forms import Forms
from secure_platform.scan.text.spans import FORMAT, LABEL, LIST, LOOSE, NEAR

Found: TypeAlias = tuple[Forms, int, int, frozenset[str]]
PERSON: Final = "PERSON_NAME"
STREET: Final = "STREET_ADDRESS"
CITY: Final = "CITY"
PLACE: Final = "PLACE_NAME"
ZIP: Final = "US_ZIP"

_FIRST_NAMES: Final = Path(__file__).with_name("first_names.txt")
_WORD: Final = r"\p{Lu}[\pL\p{M}]*(?:['\x{2019}\x60-]\p{Lu}?[\pL\p{M}]+)*"
_JOINED: Final = r"['\x{2019}\x60-]"
_LETTERS: Final = r"[\pL\p{M}]"
_NAME: Final = (
    rf"\p{{Lu}}[\p{{Ll}}\p{{M}}]{_LETTERS}*(?:{_JOINED}\p{{Lu}}?{_LETTERS}+)*"
    rf"|\p{{Lu}}{_JOINED}\p{{Lu}}{_LETTERS}+"
)
_PARTICLE: Final = "van|von|de|der|den|del|della|da|di|dos|la|le|al|el|bin|ibn|ter|ten|af|zu|y"
_REST: Final = rf"(?: (?:[A-Z]\b\.?|\p{{Lu}}\.|{_PARTICLE}))*(?: (?:{_NAME})){{0,3}}"
_TITLE: Final = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Sir|Lady|Lord|Rev|Herrn?|Frau|Monsieur|Madame|Mme|Mlle"
    r"|Señor|Señora|Sr|Sra|Srta|Signor|Signora|Sig|Dhr|Mevr|Hr)"
)
_SAID: Final = (
    "(?i:my name(?: is|'s)|names?(?: is|:)|i am|i'm|dear|signed(?: by)?|ich heiße|ich bin|je m'appelle"
    "|je suis|me llamo|soy|mi chiamo|sono)"
)
_SUFFIX: Final = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Way"
    r"|Parkway|Pkwy|Circle|Cir|Highway|Hwy|Trail|Crescent|Cres|Close|Grove|Gardens|Mews|Row|Alley|Plaza|Loop|Route|Rte)\b\.?"
)
_GERMANIC: Final = (
    r"\p{Lu}[\pL\p{M}-]*(?:straße|strasse|str\.|gasse|weg|platz|allee|gata|gatan|gate|vägen|veien|vegen|vej|tie|katu"
    r"|laan|straat|plein|gade|kade|dijk|singel|utca|út|ulica|tere|tänav)"
)
_ROMANCE: Final = (
    r"(?:Rue|Avenue|Boulevard|Chemin|Allée|Place|Quai|Impasse|Via|Viale|Piazza|Corso|Largo|Calle|Avenida|Plaza|Paseo"
    r"|Carrer|Rua|Travessa|Praça|C/|ul\.|Ulica|Aleja)"
)
_OF: Final = "(?: (?:de|du|des|de la|del|della|delle|dei|da|do|dos|das|la|le|les))?"
_HOUSE: Final = r"[0-9]{1,5}(?:[-/][0-9]{1,4})?[A-Za-z]?"
_UNIT: Final = r"(?:Apt|Apartment|Suite|Ste|Flat)\.? ?#?[0-9]{1,5}[A-Za-z]?"
_MORE: Final = rf"(?:,?\s{{1,4}}{_UNIT})?"
_STREETS: Final = (
    rf"{_HOUSE},? (?:[0-9]{{1,4}} )?(?:(?:{_WORD}|[0-9]{{1,3}}(?:st|nd|rd|th))\.? ){{1,4}}{_SUFFIX}{_MORE}",
    rf"(?:{_HOUSE} )?{_GERMANIC} {_HOUSE}{_MORE}|{_HOUSE} {_GERMANIC}{_MORE}",
    rf"{_HOUSE},? {_ROMANCE}{_OF}(?: (?:{_WORD})){{1,4}}{_MORE}",
    rf"{_ROMANCE}{_OF}(?: (?:{_WORD})){{1,4}},? {_HOUSE}{_MORE}",
    r"(?i:P\.? ?O\.? ?Box|Postfach|Apartado|Casella postale|Boîte postale|B\.P\.) [0-9]{1,6}",
    r"PSC [0-9]{1,5},? Box [0-9]{1,5}",
    _UNIT,
)
_STATE: Final = (
    "(?:A[AEKLPRZ]|C[AOT]|D[CE]|F[LM]|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEHINOPST]|N[CDEHJMVY]|O[HKR]|P[ARW]|RI|S[CD]"
    "|T[NX]|UT|V[AIT]|W[AIVY])"
)
_ZIP_CODE: Final = "[0-9]{5}(?:-[0-9]{4})?"
_LOCALITY: Final = rf"((?:{_NAME})(?: (?:{_NAME})){{0,2}})"
_WHERE: Final = (
    "(?:liv(?:e|es|ed|ing) in|mov(?:e|ed|ing) to|resid(?:e|es|ed|ing) (?:in|at)|resident of|born in"
    "|grew up in|hometown(?: is| of)?|based in|located in|originally from|wohn(?:e|t|haft) in|habite à"
    "|vive en|nacido en)"
)
_PLACES: Final[Mapping[str, str]] = {
    CITY: rf"{_LOCALITY},? {_STATE},? {_ZIP_CODE}\b",
    ZIP: rf"\pL,? {_STATE},? ({_ZIP_CODE})\b",
    PLACE: rf"{_WHERE} {_LOCALITY}",
}
_SIGN: Final = (
    rf"\b(?:{_NAME}) (?:\p{{Lu}}\.? |van |de |von )?(?:{_NAME})|\b{_TITLE}\.? \p{{Lu}}|{_SAID},? \p{{Lu}}"
    r"|[0-9],? \p{Lu}|\pL [0-9]|\bin \p{Lu}"
)

# Words that begin sentences, greetings and headings, and are no names.
_NO_NAMES: Final = frozenset(
    {
        *(
            "all",
            "everyone",
            "team",
            "sir",
            "madam",
            "customer",
            "there",
            "world",
            "friends",
            "folks",
            "colleagues",
        ),
        *(
            "monday",
            "tuesday",
            "wednesday",
            "thursday",
            "friday",
            "saturday",
            "sunday",
            "january",
            "february",
        ),
        *(
            "march",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
            "street",
            "road",
        ),
        *("the", "this", "that", "and", "for", "you", "from", "with", "inc", "ltd", "llc", "gmbh", "corp"),
    }
)
_COUNTRIES: Final = frozenset(
    {
        *(
            "america",
            "argentina",
            "australia",
            "austria",
            "belgium",
            "brazil",
            "canada",
            "chile",
            "china",
            "cuba",
        ),
        *("czechia", "denmark", "deutschland", "egypt", "england", "españa", "estonia", "europe", "finland"),
        *(
            "france",
            "germany",
            "greece",
            "hungary",
            "iceland",
            "india",
            "indonesia",
            "iran",
            "iraq",
            "ireland",
        ),
        *("israel", "italia", "italy", "japan", "kenya", "korea", "latvia", "lithuania", "mexico", "morocco"),
        *("netherlands", "nigeria", "norway", "pakistan", "peru", "poland", "portugal", "romania", "russia"),
        *(
            "scotland",
            "serbia",
            "slovakia",
            "slovenia",
            "spain",
            "sweden",
            "switzerland",
            "turkey",
            "uk",
            "ukraine",
        ),
        *("us", "usa", "vietnam", "wales", "asia", "africa"),
    }
)


@cache
def first_names() -> frozenset[str]:
    """The list, in lower case."""
    return frozenset(_FIRST_NAMES.read_text(encoding="utf-8").split())


class Names:
    """Finds the names of some types.

    Args:
        forms: The types by id; those that are not names are not looked at.
    """

    def __init__(self, forms: Mapping[str, Forms]) -> None:
        self._forms = forms
        bodies = [*((STREET, f"({body})") for body in _STREETS), *_PLACES.items()]
        built = [(kind, rf"(?:^|[^\pL0-9])(?:{body})") for kind, body in bodies if kind in forms]
        persons = _PERSONS if PERSON in forms else ()
        # Most texts hold nothing of most patterns: one search tells which of them.
        self._there = PatternSet([*(pattern for pattern, _ in persons), *(pattern for _, pattern in built)])
        self._persons = [(compile_pattern(pattern, PERSON), read) for pattern, read in persons]
        self._built = [(forms[kind], compile_pattern(pattern, kind)) for kind, pattern in built]

    def sign(self) -> str:
        """A pattern that matches in every text that can hold a name."""
        return _SIGN if self._built or self._persons else ""

    def found(self, data: bytes) -> Iterator[Found]:
        """The names in a text, with what speaks for each."""
        there = set(self._there.matching(data))
        for place, (pattern, read) in enumerate(self._persons):
            if place in there:
                yield from read(self._forms[PERSON], pattern, data)
        for place, (forms, pattern) in enumerate(self._built, len(self._persons)):
            for start, end in _groups(pattern, data) if place in there else ():
                kind = forms.kind.id
                if kind != PLACE or data[start:end].decode().lower() not in _COUNTRIES:
                    yield forms, start, end, frozenset({LABEL, LOOSE} if kind == PLACE else {FORMAT})


def _titled(forms: Forms, pattern: Pattern, data: bytes) -> Iterator[Found]:
    for start, end in _groups(pattern, data):
        yield forms, start, _without_genitive(data, start, end), frozenset({FORMAT})


def _listed(forms: Forms, pattern: Pattern, data: bytes) -> Iterator[Found]:
    for start, end in _groups(pattern, data):
        words = data[start:end].decode().lower().split()
        place = next((place for place, word in enumerate(words) if _first(word)), None)
        if place is not None and not _NO_NAMES & set(words):
            begin = start + len(b" ".join(data[start:end].split(b" ")[:place])) + (place > 0)
            whole = len(words) - place > 1
            stop = _without_genitive(data, begin, end)
            yield forms, begin, stop, frozenset({LIST, NEAR} if whole else {LIST})


def _said(forms: Forms, pattern: Pattern, data: bytes) -> Iterator[Found]:
    for start, end in _groups(pattern, data):
        words = data[start:end].decode().lower().split()
        if len(words) > 1 and not _NO_NAMES & set(words):
            yield forms, start, _without_genitive(data, start, end), frozenset({LABEL, LOOSE})


_PERSONS: Final = (
    (rf"\b{_TITLE}\.? ((?:{_NAME}){_REST})", _titled),
    (rf"(?:^|[^\pL\p{{M}}])((?:{_NAME}){_REST})", _listed),
    (rf"\b{_SAID}[,:]? ((?:{_NAME}){_REST})", _said),
)
"""How names of persons are written, and what reads them."""


def _first(word: str) -> bool:
    return first_names().issuperset(word.removesuffix("'s").removesuffix("\u2019s").split("-"))


def _without_genitive(data: bytes, start: int, end: int) -> int:
    value = data[start:end]
    return end - next((len(s) for s in (b"'s", "\u2019s".encode()) if value.endswith(s)), 0)


def _groups(pattern: Pattern, data: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while (match := pattern.search(data, start)) is not None:
        first, last = match.span(1)
        yield first, last
        start = max(last, start + 1)
