"""Spans of a text as pairs of what they cover and what it is."""

from functools import cache

from secure_platform.scan.text.scanner import TextScanner
from secure_platform.scan.text.spans import Span
from secure_platform.taxonomy.info_types import info_types


@cache
def scanner() -> TextScanner:
    """One for all tests: its automata are built once."""
    return TextScanner(info_types())


def spans(text: str) -> list[Span]:
    """What is in the text."""
    return scanner().spans(text)


def found(text: str) -> list[tuple[str, str]]:
    """What each span covers, and its type."""
    return [(text[span.start : span.end], span.info_type) for span in spans(text)]


def kinds(text: str) -> dict[str, Span]:
    """The spans by their type."""
    return {span.info_type: span for span in spans(text)}
