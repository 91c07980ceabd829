"""Random texts of a pattern's form, each place drawn evenly."""

import random
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

_PARSER: Any = import_module("re._parser")
_CLASSES = {"CATEGORY_DIGIT": "0123456789", "CATEGORY_SPACE": " ", "CATEGORY_NOT_SPACE": "abcXYZ019"}


def drawn(pattern: str, draw: random.Random) -> str:
    """One text that the pattern matches."""
    plain = pattern.replace("(?i)", "").replace(r"(?-u:\b)", "")
    return "".join(_pieces(_PARSER.parse(plain), draw))


def _pieces(parsed: Any, draw: random.Random) -> Iterator[str]:
    for code, argument in parsed:
        match str(code):
            case "LITERAL":
                yield chr(argument)
            case "IN":
                yield draw.choice([sign for part in argument for sign in _signs(part)])
            case "BRANCH":
                yield from _pieces(draw.choice(argument[1]), draw)
            case "SUBPATTERN":
                yield from _pieces(argument[-1], draw)
            case "MAX_REPEAT":
                low, high, inner = argument
                for _ in range(draw.randint(low, min(high, low + 8))):
                    yield from _pieces(inner, draw)
            case "AT":
                continue
            case other:
                raise AssertionError(other, re.__name__)


def _signs(part: Any) -> str:
    code, argument = part
    match str(code):
        case "RANGE":
            return "".join(map(chr, range(argument[0], argument[1] + 1)))
        case "LITERAL":
            return chr(argument)
        case _:
            return _CLASSES[str(argument)]
