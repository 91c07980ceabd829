"""What stands beside a value: keywords of its type within some characters, or a label right before it.

The keywords are the taxonomy's: its context words and the column names that mean the type. A label is read as
a column name is, word by word.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from secure_platform.scan.headers import named_types
from secure_platform.scan.secrets.linear import compile_pattern
from secure_platform.taxonomy.info_types import InfoType
from secure_platform.taxonomy.reading import header_tokens

AFTER: Final = 64
BEFORE: Final = 32
_NOTHING: Final = r"[^\s\S]"
_LABELS: Final = 1 << 12
_LONGEST_VALUE: Final = 160
_LONGEST_LABEL: Final = 48
_LABEL_WORDS: Final = 4

# What people say of a telephone, a card or a birthday beside its name.
_SAID: Final[Mapping[str, tuple[str, ...]]] = {
    "PHONE": (
        *("call", "called", "calling", "dial", "ring up", "reach", "sms", "whatsapp", "answering"),
        *("contact", "mobile", "cell", "office", "desk", "home", "work", "message", "registered", "hotline"),
        *("helpline", "voicemail", "appelez", "appeler", "joindre", "llame", "llamar", "anrufen"),
        *("chiamare", "bellen", "number is"),
    ),
    "CREDIT_CARD": (
        *("card", "cards", "visa", "mastercard", "amex", "american express", "maestro", "diners", "discover"),
        *("jcb", "unionpay", "karte", "carte", "tarjeta", "carta", "kort", "kaart", "cc"),
    ),
    "DATE_OF_BIRTH": ("born", "birthday", "birth", "dob", "geboren", "nacido", "nacida", "nato", "nata"),
    "PASSPORT": ("passport", "pasaporte", "passeport", "reisepass", "passaporto", "paspoort"),
    "US_DRIVERS_LICENSE": ("driver license", "drivers license", "driver's license", "driving license"),
    "IBAN": ("iban",),
    "IPV4": ("ip", "address", "addr", "host", "server", "from", "client", "gateway", "router", "dns"),
}  # fmt: skip

# What parts a label from its value: a sign, an end of line behind it, or a verb.
_PARTED: Final = compile_pattern(
    r"""["'\]]?[ \t]{0,3}(:=|=>|[:=>|#])(?:[ \t]{0,4}\r?\n?[ \t]{0,8})["'\[<]?"""
    r"""|(?i:[ \t](?:is|are|was|it'?s|ist|est|es)[ \t:]{1,3})["'\[<]?""",
    "labels",
)
# What is in every text that has a label before a value.
LABELLED: Final = r"""[:=>|#]|[ \t](?i:is|are|was|it'?s|ist|est|es)[ \t]{1,3}["'\[<(]?[0-9A-Z]"""
_ENDS: Final = compile_pattern(r"""[\n\r\t,;|&<>"]| - | {2}""", "ends of values")


class Keyword(NamedTuple):
    """A word that speaks of these types."""

    start: int
    end: int
    types: frozenset[str]


@dataclass(frozen=True)
class Label:
    """A label, by what follows it.

    Attributes:
        types: Ids of the info types that it means.
        start: Where the value begins.
        end: Where at the latest it ends.
        assigned: Whether a colon or the like stands between them.
    """

    types: frozenset[str]
    start: int
    end: int
    assigned: bool


class Context:
    """Finds keywords and labels of the types of a taxonomy."""

    def __init__(self, types: Mapping[str, InfoType]) -> None:
        self._types = types
        self._by_word: dict[str, set[str]] = {}
        for kind in types.values():
            for word in _keywords(kind):
                self._by_word.setdefault(_plain(word), set()).add(kind.id)
        self._by_token = _by_token(types.values())
        self.words = compile_pattern(_any_word(self._by_word), "keywords")
        self._named = lru_cache(_LABELS)(self._name)

    def keywords(self, data: bytes) -> Iterator[Keyword]:
        """The keywords, in order."""
        for match in self.words.finditer(data):
            start, end = match.span()
            word = _plain(data[start:end].decode())
            types = self._by_word.get(word) or self._by_word.get(word.removesuffix("s"))
            yield Keyword(start, end, frozenset(types or ()))

    def labels(self, data: bytes) -> Iterator[Label]:
        """The labels that mean a type."""
        for match in _PARTED.finditer(data):
            key, start = match.span()
            types = self._meant(data[max(0, key - _LONGEST_LABEL) : key])
            if types:
                last = min(len(data), start + _LONGEST_VALUE)
                ending = _ENDS.search(data, start, last)
                yield Label(types, start, ending.span()[0] if ending else last, match.span(1)[0] >= 0)

    def _meant(self, before: bytes) -> frozenset[str]:
        """The types that the last words of a line mean, from the first on that a column name could have."""
        line = before[max(before.rfind(b"\n"), before.rfind(b",")) + 1 :].decode(errors="ignore")
        words = line.split()[-_LABEL_WORDS:]
        while words and self._by_token.keys().isdisjoint(header_tokens(words[0])):
            del words[0]
        return self._named(" ".join(words)) if words else frozenset()

    def _name(self, label: str) -> frozenset[str]:
        told = {kind for token in header_tokens(label) for kind in self._by_token.get(token, ())}
        return named_types({kind: self._types[kind] for kind in told}, [label])[label]


def _keywords(kind: InfoType) -> Iterable[str]:
    """Words of at least three letters, or that the taxonomy gives for text."""
    phrases = (" ".join(words) for words in kind.header_words if not {"^", "$"} & set(words))
    named = (phrase for phrase in phrases if len(phrase) > 2)  # noqa: PLR2004 - shorter ones are in every text
    return dict.fromkeys((*kind.context_words, *_SAID.get(kind.id, ()), *named))


def _by_token(types: Iterable[InfoType]) -> Mapping[str, set[str]]:
    """The types by every word of a column name that means them, its plural, and the name written together."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for kind in types:
        for phrase in (*kind.header_words, *kind.weak_headers):
            words = [word for word in phrase if word not in {"^", "$"}]
            for word in (*words, "".join(words)):
                for form in (word, f"{word}s", f"{word.removesuffix('y')}ies"):
                    found[form].add(kind.id)
    return found


def _any_word(words: Iterable[str]) -> str:
    """One of the words or its plural, whatever parts them; ASCII words are whole ones."""
    quoted = [re.escape(word).replace(r"\ ", "[ _-]?") for word in sorted(words, key=len, reverse=True)]
    ascii_words = "|".join(word for word in quoted if word.isascii())
    others = "|".join(word for word in quoted if not word.isascii())
    bounded = rf"\b(?:{ascii_words})s?\b" if ascii_words else ""
    return f"(?i){'|'.join(filter(None, (bounded, others))) or _NOTHING}"


def _plain(word: str) -> str:
    """A keyword as it is looked up."""
    return "".join(sign for sign in word.lower() if sign not in " _-")
