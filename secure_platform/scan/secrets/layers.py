"""Texts inside a text: base64, hex, percent-encoding, and string literals that are joined.

Only what can be plain text once it is decoded is looked at, so that a digest or a picture costs nothing: the
first of four characters of base64 is one of 32 then, and the first of two hexadecimal digits one of six.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from secure_platform.scan.secrets.linear import compile_pattern

LONGEST: Final = 1 << 20
_LITERAL: Final = r"""(?:"[\w+/=.~-]{4,}"|'[\w+/=.~-]{4,}')"""
_JOINED: Final = rf"{_LITERAL}(?:\s{{0,40}}(?:[+.&]|\\|\|\|)?\s{{0,40}}{_LITERAL})+"
_PERCENT: Final = r"[\w.~+&=:;,/?@!$()*-]*(?:%[0-9A-Fa-f]{2}[\w.~+&=:;,/?@!$()*-]*){2,}"
_HEX: Final = r"\b(?:[2-7][0-9A-Fa-f]|0[9AaDd]){16,}\b"
_BASE64: Final = r"(?:[A-Za-f][A-Za-z0-9+/_-]{3}){8,}[A-Za-z0-9+/_-]{0,3}={0,2}"
LAYERED: Final = compile_pattern(
    rf"({_JOINED})|({_PERCENT})|({_HEX})|(?:^|[^A-Za-z0-9+/_-])({_BASE64})", "layers"
)
_KINDS: Final = ("joined", "percent-encoding", "hex", "base64")
_PIECE: Final = compile_pattern(_LITERAL, "string literals")
_PLAIN: Final = frozenset({*range(0x20, 0x7F), *b"\t\r\n"})
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Layer:
    """A text that was wrapped, and where its wrapping is."""

    inner: bytes
    start: int
    end: int
    kind: str


def layers(text: bytes) -> Iterator[Layer]:
    """The texts that are wrapped in a text, in order."""
    for match in LAYERED.finditer(text):
        spans = [match.span(group) for group in range(1, len(_KINDS) + 1)]
        start, end = max(spans)
        kind = _KINDS[spans.index((start, end))]
        wrapped = text[start : min(end, start + LONGEST)]
        inner = _unwrapped(wrapped, kind)
        if inner and inner != wrapped:
            yield Layer(inner, start, end, kind)


def _unwrapped(wrapped: bytes, kind: str) -> bytes:
    if kind == "joined":
        return b"".join(wrapped[slice(*match.span())][1:-1] for match in _PIECE.finditer(wrapped))
    if kind == "percent-encoding":
        return unquote_to_bytes(wrapped)
    if kind == "hex":
        return _plain(binascii.unhexlify(wrapped[: len(wrapped) // 2 * 2]))
    body = wrapped.rstrip(b"=")
    body = body[: len(body) - (len(body) % 4 == 1)].translate(_URL_SAFE)
    return _plain(base64.b64decode(body + b"=" * (-len(body) % 4)))


def _plain(data: bytes) -> bytes:
    return data if _PLAIN.issuperset(data) else b""
