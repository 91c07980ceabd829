"""A column name is evidence of its own, judged by whole words.

Names are split into words and compared with the phrases of the taxonomy, so `acid` never means `cid`. A name
without any separator may equal a phrase written together.
"""

from collections.abc import Iterable, Mapping, Sequence

from secure_platform.taxonomy.info_types import InfoType
from secure_platform.taxonomy.reading import header_tokens

Phrase = tuple[str, ...]


def named_types(types: Mapping[str, InfoType], header: Sequence[str]) -> dict[str, frozenset[str]]:
    """The info types that each column's name means, given all names of the table."""
    words = {name: header_tokens(name) for name in header}
    return {
        name: frozenset(kind.id for kind in types.values() if _named(kind, name, words)) for name in header
    }


def vetoed_types(types: Mapping[str, InfoType], name: str) -> frozenset[str]:
    """The info types that a column of this name does not hold as whole cells."""
    words = header_tokens(name)
    return frozenset(
        kind.id for kind in types.values() if kind.value_patterns and _any_phrase(kind.header_vetoes, words)
    )


def keyed_types(types: Mapping[str, InfoType], name: str) -> frozenset[str]:
    """The info types that the name means unless the cells are surrogate keys."""
    words = header_tokens(name)
    return frozenset(
        kind.id
        for kind in types.values()
        if _any_phrase(kind.key_headers, words) and not _any_phrase(kind.header_words, words)
    )


def _named(kind: InfoType, name: str, words: Mapping[str, Phrase]) -> bool:
    if _any_phrase(kind.header_vetoes, words[name]):
        return False
    if _any_phrase((*kind.header_words, *kind.key_headers), words[name]):
        return True
    weak = _any_phrase(kind.weak_headers, words[name])
    return weak and any(_any_phrase(kind.weak_beside, other) for other in words.values())


def _any_phrase(phrases: Iterable[Phrase], words: Phrase) -> bool:
    return any(_means(phrase, words) for phrase in phrases)


def _means(phrase: Phrase, words: Phrase) -> bool:
    core = tuple(word for word in phrase if word not in {"^", "$"})
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
