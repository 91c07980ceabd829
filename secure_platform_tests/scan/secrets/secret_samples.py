"""Made-up secrets, composed when a test runs from the pattern of a rule: none stands in a file.

The same seed gives the same sample in every process.
"""

import importlib
import random
import re
import string
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.engine import Engine
from secure_platform.scan.secrets.rules import SecretRule

op: Any = importlib.import_module("re._constants")
parser: Any = importlib.import_module("re._parser")
ENGINE: Final = Engine(own_rules())
ATTEMPTS: Final = 200
ENOUGH: Final = 12
_PRINTABLE: Final = string.ascii_letters + string.digits + "_-"
_CLASSES: Final = {
    op.CATEGORY_WORD: string.ascii_letters + string.digits + "_",
    op.CATEGORY_DIGIT: string.digits,
    op.CATEGORY_SPACE: " ",
    op.CATEGORY_NOT_SPACE: string.ascii_letters + string.digits,
    op.CATEGORY_NOT_WORD: " ",
    op.CATEGORY_NOT_DIGIT: string.ascii_letters,
}


def sample(rule: SecretRule, seed: int = 0) -> bytes:
    """A text that holds a secret of the rule, and the rule finds it there."""
    return next(text for text, found in _attempts(rule, seed) if found)


def compose(rule: SecretRule, seed: int) -> bytes:
    """A text that the rule's pattern matches."""
    rng = random.Random(f"{rule.id} {seed}")  # noqa: S311 - samples
    text = _text(_tree(rule.regex_text), rng).encode()
    announced = any(word in text.lower() for word in rule.keywords)
    announcement = b"" if announced or not rule.keywords else rule.keywords[0]
    return b" ".join([announcement, text, b""])


@cache
def _tree(regex: str) -> Any:
    # Python's parser knows neither RE2's \z nor flags in the middle of a pattern.
    pattern = re.sub(r"\(\?-[a-z]+:", "(?:", regex.replace(r"\z", r"\Z"))
    flags = "".join(sorted(set("".join(re.findall(r"\(\?([imsx]+)\)", pattern)))))
    body = re.sub(r"\(\?[imsx]+\)", "", pattern)
    return parser.parse(f"(?{flags}){body}" if flags else body)


def _attempts(rule: SecretRule, seed: int) -> Iterable[tuple[bytes, bool]]:
    for attempt in range(ATTEMPTS):
        text = compose(rule, seed * ATTEMPTS + attempt)
        yield text, any(hit.rule.id == rule.id for hit in ENGINE.hits(text, "a/file.txt"))
    yield b"", True


def _text(tree: Any, rng: random.Random) -> str:
    return "".join(_node(kind, value, rng) for kind, value in tree)


def _node(kind: Any, value: Any, rng: random.Random) -> str:
    if kind in {op.MAX_REPEAT, op.MIN_REPEAT}:
        least, most, inner = value
        return _repeated(least, most, inner, rng)
    if kind == op.IN:
        return rng.choice(_signs(tuple(value)))
    if kind == op.BRANCH:
        return _text(rng.choice(value[1]), rng)
    if kind == op.SUBPATTERN:
        return _text(value[-1], rng)
    if kind == op.AT:
        return ""
    return chr(value) if kind == op.LITERAL else rng.choice(_PRINTABLE)


def _repeated(least: int, most: Any, inner: Any, rng: random.Random) -> str:
    """As rarely as may be, but not so rarely that a secret is too plain to be one."""
    times = least or rng.randint(0, min(int(most), 1))
    if least and int(most) > ENOUGH:
        times = max(least, ENOUGH)
    return "".join(_text(inner, rng) for _ in range(times))


@cache
def _signs(members: tuple[Any, ...]) -> list[str]:
    negated = members[0][0] == op.NEGATE
    chosen: set[str] = set()
    for kind, value in members:
        if kind == op.LITERAL:
            chosen.add(chr(value))
        elif kind == op.RANGE:
            chosen |= {chr(code) for code in range(value[0], value[1] + 1)}
        elif kind == op.CATEGORY:
            chosen |= set(_CLASSES[value])
    usable = (set(_PRINTABLE) - chosen or set(" ;,") - chosen) if negated else chosen
    return sorted(usable)
