"""Texts encoded in a text: base64, hex, percent-encoding, and string literals that are joined.

Only what can decode to plain text is examined, so that a digest or a picture costs nothing: the first of four
base64 characters is then one of 32, and the first of two hexadecimal digits one of six.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from secure_platform.scan.secrets.linear import Pattern, compile_pattern

LONGEST: Final = 1 << 20
_LITERAL: Final = r"""(?:"[\w+/=.~-]{4,}"|'[\w+/=.~-]{4,}')"""
_JOINED: Final = rf"{_LITERAL}(?:\s{{0,40}}(?:[+.&]|\\|\|\|)?\s{{0,40}}{_LITERAL})+"
_KINDS: Final = ("joined", "percent-encoding", "hex", "base64")


def _wrappings(*, percents: int, hex_bytes: int, base64_quads: int) -> str:
    """All kinds, in the order of their groups, from a shortest length on."""
    url = r"[\w.~+&=:;,/?@!$()*-]*"
    percent = rf"{url}(?:%[0-9A-Fa-f]{{2}}{url}){{{percents},}}"
    hexadecimal = rf"\b(?:[2-7][0-9A-Fa-f]|0[9AaDd]){{{hex_bytes},}}\b"
    base = rf"(?:[A-Za-f][A-Za-z0-9+/_-]{{3}}){{{base64_quads},}}[A-Za-z0-9+/_-]{{0,3}}={{0,2}}"
    return rf"({_JOINED})|({percent})|({hexadecimal})|(?:^|[^A-Za-z0-9+/_-])({base})"


# A secret is long; a number or an address is not.
LAYERED: Final = compile_pattern(_wrappings(percents=2, hex_bytes=16, base64_quads=8), "layers")
SHORT: Final = _wrappings(percents=1, hex_bytes=9, base64_quads=4)
_SIGN: Final = re.compile(rb"%[0-9A-Fa-f]{2}|(?s:.)")
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

    def ranges(self, text: bytes) -> Sequence[tuple[int, int]]:
        """Where in the text each byte of `inner` is; everywhere in it where that cannot be told."""
        first, count = self.start, len(self.inner)
        if self.kind == "hex":
            return [(first + 2 * place, first + 2 * place + 2) for place in range(count)]
        if self.kind == "base64":
            return [(first + place * 4 // 3, first + (place * 4 + 6) // 3) for place in range(count)]
        if self.kind == "percent-encoding":
            return [match.span() for match in _SIGN.finditer(text, first, self.end)][:count]
        return [(first, self.end)] * count


def layers(text: bytes, wrapped_in: Pattern = LAYERED) -> Iterator[Layer]:
    """The texts that are wrapped in a text, in order."""
    for match in wrapped_in.finditer(text):
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
