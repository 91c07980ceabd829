"""One JSON for everything that is signed, authenticated or hashed.

Written as RFC 8785 (JCS); read strictly: duplicate keys, NaN, infinities, halves of surrogate pairs and a
byte order mark are refused, because two readers could otherwise understand one signed document differently.
"""

import codecs
import hashlib
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import rfc8785

from secure_platform.errors import IntegrityError

_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD]")


class _NotStrictError(ValueError):
    """Valid for a lenient reader; the message says why not for us."""


def dumps(value: Any) -> bytes:
    """Serialise to RFC 8785 canonical JSON.

    Raises:
        IntegrityError: If the value holds something canonical JSON cannot carry (NaN, integers beyond ±2^53).
    """
    try:
        return bytes(rfc8785.dumps(value))
    except (rfc8785.CanonicalizationError, ValueError):
        raise IntegrityError(
            "A record holds a value that canonical JSON cannot carry", "Store it as text."
        ) from None


def loads(document: bytes, *, name: str) -> Any:
    """Parse strictly.

    Args:
        document: UTF-8 JSON bytes.
        name: What the document is, for the error.

    Raises:
        IntegrityError: If the bytes are not one strict JSON document.
    """
    try:
        value = json.loads(
            document.decode("utf-8"),
            object_pairs_hook=_refuse_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        if _ESCAPED_SURROGATE.search(document) and not is_unicode(json.dumps(value, ensure_ascii=False)):
            raise _NotStrictError("it holds half of a surrogate pair")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name} is not a strict JSON document: {_problem(document, error)}",
            "Restore it from a copy, or build the release again.",
        ) from None
    return value


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which arguments that are not UTF-8 turn into."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def sha256(data: bytes) -> str:
    """SHA-256 as `sha256:<64 hex digits>`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _problem(document: bytes, error: Exception) -> str:
    """What is wrong, without the text that the library's error may quote."""
    if document.startswith(codecs.BOM_UTF8):
        return "it begins with a byte order mark"
    match error:
        case RecursionError():
            return "it is nested too deeply"
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case _NotStrictError():
            return str(error)
        case _:
            return "it is not JSON"


def _refuse_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotStrictError("an object names a member twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError
    return number


def _refuse_constant(_: str) -> NoReturn:
    raise _NotStrictError("it holds NaN or an infinity")
