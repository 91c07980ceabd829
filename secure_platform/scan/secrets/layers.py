"""Texts inside a text: base64, hex, percent-encoding, and string literals that are joined.

Only what decodes to plain text is looked into, so that a digest or a picture costs one short decoding.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from secure_platform.scan.secrets.linear import Pattern, compile_pattern

LONGEST: Final = 1 << 20
_RUN: Final = r"[A-Za-z0-9+/_-]{32,}={0,2}"
_PERCENT: Final = r"[\w.~+&=:;,/?@!$()*-]*(?:%[0-9A-Fa-f]{2}[\w.~+&=:;,/?@!$()*-]*){2,}"
_LITERAL: Final = r"""(?:"[\w+/=.~-]{4,}"|'[\w+/=.~-]{4,}')"""
_JOINED: Final = rf"{_LITERAL}(?:\s{{0,40}}(?:[+.&]|\\|\|\|)?\s{{0,40}}{_LITERAL})+"
_LAYERED: Final = compile_pattern(f"{_JOINED}|{_PERCENT}|{_RUN}", "layers")
_PIECE: Final = compile_pattern(_LITERAL, "string literals")
_HEX: Final = compile_pattern(r"[0-9A-Fa-f]+", "hexadecimal digits")
_SAMPLE: Final = 24
_PLAIN: Final = frozenset({*range(0x20, 0x7F), *b"\t\r\n"})
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Layer:
    """A text that was wrapped, and where its wrapping is."""

    inner: bytes
    start: int
    end: int
    kind: str


def layers(text: bytes, pattern: Pattern = _LAYERED) -> Iterator[Layer]:
    """The texts that are wrapped in a text, in order."""
    for match in pattern.finditer(text):
        start, end = match.span()
        wrapped = text[start : min(end, start + LONGEST)]
        inner, kind = _unwrapped(wrapped)
        if inner and inner != wrapped:
            yield Layer(inner, start, end, kind)


def _unwrapped(wrapped: bytes) -> tuple[bytes, str]:
    if wrapped[:1] in {b'"', b"'"}:
        pieces = (wrapped[slice(*match.span())][1:-1] for match in _PIECE.finditer(wrapped))
        return b"".join(pieces), "joined"
    if b"%" in wrapped:
        return unquote_to_bytes(wrapped), "percent-encoding"
    body = wrapped.rstrip(b"=")
    if _HEX.fullmatch(body):
        return _plain(binascii.unhexlify(body[: len(body) // 2 * 2])), "hex"
    head, whole = (_base64(part) for part in (body[:_SAMPLE], body))
    return (whole if _plain(head) and _plain(whole) else b""), "base64"


def _base64(body: bytes) -> bytes:
    cut = len(body) - (len(body) % 4 == 1)
    padded = body[:cut].translate(_URL_SAFE) + b"=" * (-cut % 4)
    return base64.b64decode(padded)


def _plain(data: bytes) -> bytes:
    return data if _PLAIN.issuperset(data) else b""
