"""Random texts of a pattern's form, each place drawn evenly."""

import random
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

_PARSER: Any = import_module("re._parser")
_CLASSES = {"CATEGORY_DIGIT": "0123456789", "CATEGORY_SPACE": " ", "CATEGORY_NOT_SPACE": "abcXYZ019"}
Drawer = Callable[[random.Random], str]


def drawn(pattern: str, draw: random.Random) -> str:
    """One text that the pattern matches."""
    return _drawer_of(pattern)(draw)


@cache
def _drawer_of(pattern: str) -> Drawer:
    return _drawer(_PARSER.parse(pattern.replace("(?i)", "").replace(r"(?-u:\b)", "")))


def _drawer(parsed: Any) -> Drawer:
    pieces = [_piece(str(code), argument) for code, argument in parsed]
    return lambda draw: "".join([piece(draw) for piece in pieces])


def _piece(code: str, argument: Any) -> Drawer:
    match code:
        case "LITERAL":
            return lambda _: chr(argument)
        case "IN":
            signs = [sign for part in argument for sign in _signs(part)]
            return lambda draw: draw.choice(signs)
        case "BRANCH":
            branches = [_drawer(branch) for branch in argument[1]]
            return lambda draw: draw.choice(branches)(draw)
        case "SUBPATTERN":
            return _drawer(argument[-1])
        case "MAX_REPEAT":
            low, high, repeated = argument
            inner, most = _drawer(repeated), min(high, low + 8)
            return lambda draw: "".join([inner(draw) for _ in range(draw.randint(low, most))])
        case "AT":
            return lambda _: ""
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
