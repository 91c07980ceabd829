"""Text becomes UTF-8: by its byte order mark, else as UTF-8 if it begins so, else as Windows-1252."""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from secure_platform.scan.secrets.scanner import marked
from secure_platform.scan.sources.documents import Document, flowing
from secure_platform.source.stream import Readable

_HEAD: Final = 64 << 10
_UTF8: Final = "utf-8"


@contextmanager
def utf8(document: Document) -> Iterator[IO[bytes]]:
    """The document's bytes in UTF-8; in one that begins as UTF-8, bytes that are none stay what they are."""
    with document.open() as stream:
        head = stream.read(_HEAD)
    encoding = encoding_of(head)
    with document.open() as stream:
        yield stream if encoding == _UTF8 else flowing(_Transcoded(stream, encoding))


def encoding_of(head: bytes) -> str:
    """The encoding of a text that begins so."""
    if (name := marked(head)) is not None:
        return name
    try:
        # What is cut off at the end may be the beginning of a character.
        codecs.getincrementaldecoder(_UTF8)().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return _UTF8


class _Transcoded:
    def __init__(self, stream: Readable, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._ready = io.BytesIO()

    def read(self, size: int, /) -> bytes:
        while not (taken := self._ready.read(size)):
            block = self._stream.read(size)
            self._ready = io.BytesIO(self._decoder.decode(block, final=not block).encode())
            if not block:
                return self._ready.read(size)
        return taken
