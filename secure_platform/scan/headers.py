"""A column name is evidence of its own, judged by whole words.

Names are split into words and compared with the phrases of the taxonomy, so `acid` never means `cid`. A name
without any separator may equal a phrase written together.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from secure_platform.taxonomy.info_types import InfoType
from secure_platform.taxonomy.reading import header_tokens

Phrase = tuple[str, ...]
_ENDS: Final = frozenset({"^", "$"})


class Headers:
    """What column names mean by a taxonomy."""

    def __init__(self, types: Mapping[str, InfoType]) -> None:
        kinds = types.values()
        self._beside = {kind.id: kind.weak_beside for kind in kinds if kind.weak_beside}
        self._sure = _Phrases({kind.id: kind.header_words for kind in kinds})
        self._keys = _Phrases({kind.id: kind.key_headers for kind in kinds})
        self._weak = _Phrases({kind.id: kind.weak_headers for kind in kinds})
        self._vetoes = _Phrases({kind.id: kind.header_vetoes for kind in kinds})
        self._whole = frozenset(kind.id for kind in kinds if kind.value_patterns)

    def named(self, header: Iterable[str]) -> dict[str, frozenset[str]]:
        """The info types that each column's name means, given all names of the table."""
        words = {name: header_tokens(name) for name in header}
        weak = {name: self._weak.meant(each) for name, each in words.items()}
        asked = frozenset[str]().union(*weak.values())
        beside = {
            kind for kind in asked if any(_any_phrase(self._beside[kind], each) for each in words.values())
        }
        return {
            name: (self._sure.meant(each) | self._keys.meant(each) | weak[name] & beside)
            - self._vetoes.meant(each)
            for name, each in words.items()
        }

    def vetoed(self, name: str) -> frozenset[str]:
        """The info types that a column of this name does not hold as whole cells."""
        return self._vetoes.meant(header_tokens(name)) & self._whole

    def keyed(self, name: str) -> frozenset[str]:
        """The info types that the name means unless the cells are surrogate keys."""
        words = header_tokens(name)
        return self._keys.meant(words) - self._sure.meant(words)


def named_types(types: Mapping[str, InfoType], header: Sequence[str]) -> dict[str, frozenset[str]]:
    """The info types that each column's name means, given all names of the table."""
    return Headers(types).named(header)


class _Phrases:
    """Phrases by their first word, so that a name is compared with few of them."""

    def __init__(self, phrases: Mapping[str, Iterable[Phrase]]) -> None:
        self._together: dict[str, set[str]] = defaultdict(set)
        self._first: dict[str, list[tuple[str, Phrase]]] = defaultdict(list)
        for kind, several in phrases.items():
            for phrase in several:
                core = [word for word in phrase if word not in _ENDS]
                self._together["".join(core)].add(kind)
                self._first[core[0]].append((kind, phrase))

    def meant(self, words: Phrase) -> frozenset[str]:
        """The kinds one of whose phrases is in these words."""
        near = {
            kind
            for word in _singulars(words)
            for kind, phrase in self._first.get(word, ())
            if _means(phrase, words)
        }
        return frozenset(near | self._together.get("".join(words), set()))


def _singulars(words: Phrase) -> Iterator[str]:
    for word in words:
        yield from {word, word.removesuffix("s"), word.removesuffix("ies") + "y"}


def _any_phrase(phrases: Iterable[Phrase], words: Phrase) -> bool:
    return any(_means(phrase, words) for phrase in phrases)


def _means(phrase: Phrase, words: Phrase) -> bool:
    core = tuple(word for word in phrase if word not in _ENDS)
    if "".join(core) == "".join(words):
        return True
    starts = range(len(words) - len(core) + 1)
    if phrase[0] == "^":
        starts = range(min(1, len(starts)))
    if phrase[-1] == "$":
        starts = range(max(starts.start, len(words) - len(core)), len(starts))
    return any(all(map(_same, core, words[start:])) for start in starts)


def _same(word: str, given: str) -> bool:
    """The word or its plural; digits never have one."""
    plurals = {word + "s", word.removesuffix("y") + "ies"} if word.isalpha() else set()
    return given == word or given in plurals
