"""Texts of any length are scanned by blocks: memory is bounded; a secret across a border is found once."""

import codecs
import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Final

import polars as pl

from secure_platform.scan.secrets.engine import Engine, Hit
from secure_platform.scan.secrets.findings import (
    MINIMUM_CONFIDENCE,
    FilePlace,
    SecretFinding,
    fingerprint,
    reasons,
)
from secure_platform.scan.secrets.rules import RuleSet

BLOCK: Final = 4 << 20
OVERLAP: Final = 64 << 10
_SNIFFED: Final = 8 << 10
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class _Block:
    """A piece of a text that begins at `column` (from 0) of `line`, `offset` bytes after its start."""

    data: bytes
    offset: int
    line: int
    column: int


class SecretScanner:
    """Finds the secrets of a rule set.

    Args:
        ruleset: The rules.
        key: For the fingerprints.
        minimum: The confidence below which nothing is reported; rules tagged `weak` are below the default.
    """

    def __init__(self, ruleset: RuleSet, key: bytes, *, minimum: float = MINIMUM_CONFIDENCE) -> None:
        self.engine = Engine(ruleset, minimum)
        self._key = key

    def text(self, text: str, path: str = "") -> list[SecretFinding]:
        """The secrets in a text."""
        return self.stream(io.BytesIO(text.encode(errors="replace")), path)

    def path(self, path: str) -> list[SecretFinding]:
        """The findings that a file's path is, whatever is in it."""
        mark = fingerprint(self._key, b"path", path.encode(errors="surrogateescape"))
        return [
            SecretFinding(
                rule=rule.id,
                info_type=rule.info_type,
                description=rule.description,
                place=FilePlace(path, 0, 0, 0, 0),
                entropy=0.0,
                confidence=rule.confidence,
                fingerprint=mark,
                reasons=("the path",),
            )
            for rule in self.engine.forbidden_path(path)
        ]

    def stream(self, stream: IO[bytes], path: str) -> list[SecretFinding]:
        """The secrets in a stream of text in UTF-8, UTF-16, UTF-32 (with its mark) or Latin-1."""
        return list(self._in_blocks(stream, path))

    def _in_blocks(self, stream: IO[bytes], path: str) -> Iterator[SecretFinding]:
        seen: set[tuple[str, int]] = set()
        for block, hits in self._searched(_blocks(stream), path):
            places = _Places(block)
            now = {(hit.rule.id, block.offset + hit.start): hit for hit in hits}
            for identity, hit in now.items():
                if identity not in seen:
                    yield SecretFinding(
                        rule=hit.rule.id,
                        info_type=hit.rule.info_type,
                        description=hit.rule.description,
                        place=places.place(path, hit),
                        entropy=hit.entropy,
                        confidence=hit.confidence,
                        fingerprint=fingerprint(self._key, hit.secret),
                        reasons=reasons([hit]),
                    )
            seen = set(now)

    def _searched(self, blocks: Iterator[_Block], path: str) -> Iterator[tuple[_Block, list[Hit]]]:
        """Each block with what is in it; RE2 lets several be searched at once."""
        ahead = deque(islice(blocks, 2))
        if len(ahead) < 2:  # noqa: PLR2004 - most files are one block, and no thread is worth its start
            yield from ((block, self.engine.hits(block.data, path)) for block in ahead)
            return
        with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
            running: deque[tuple[_Block, Future[list[Hit]]]] = deque()
            for block in chain(ahead, blocks):
                running.append((block, pool.submit(self.engine.hits, block.data, path)))
                if len(running) > pl.thread_pool_size():
                    done, hits = running.popleft()
                    yield done, hits.result()
            yield from ((done, hits.result()) for done, hits in running)


def is_binary(head: bytes) -> bool:
    """Whether a file that begins so is no text."""
    return b"\0" in head[:_SNIFFED] and marked(head) is None


def marked(head: bytes) -> str | None:
    """The encoding that the mark at the beginning of a text names, if it is not UTF-8."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _blocks(stream: IO[bytes]) -> Iterator[_Block]:
    """The text in pieces that end with a line where they can, and begin with the end of the one before."""
    carried, offset, line, column = b"", 0, 1, 0
    for data, last in _utf8(stream):
        text = carried + data
        end = len(text) if last else text.rfind(b"\n", len(carried)) + 1 or len(text)
        yield _Block(text[:end], offset, line, column)
        keep = max(0, end - OVERLAP)
        keep = max(keep, text.find(b"\n", keep, end) + 1) if keep else 0
        passed = text[:keep]
        newline = passed.rfind(b"\n")
        column = _characters(passed[newline + 1 :]) + (column if newline < 0 else 0)
        line += passed.count(b"\n")
        offset, carried = offset + keep, text[keep:]


def _utf8(stream: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The stream as UTF-8, and whether it ends; bytes that are not UTF-8 are read as Latin-1."""
    chunk = stream.read(BLOCK)
    name = marked(chunk) or "utf-8"
    decoder = codecs.getincrementaldecoder(name)("replace" if name != "utf-8" else "latin-1 bytes")
    while True:
        following = stream.read(BLOCK)
        plain = chunk.isascii() and name == "utf-8" and not decoder.getstate()[0]
        yield (chunk if plain else decoder.decode(chunk, not following).encode()), not following
        if not following:
            return
        chunk = following


def _as_latin1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("latin-1 bytes", _as_latin1)


def _characters(data: bytes) -> int:
    return len(data.decode(errors="replace"))


class _Places:
    """Lines and columns in a block, counted onwards from the hit before."""

    def __init__(self, block: _Block) -> None:
        self._block = block
        self._at, self._line = 0, block.line

    def place(self, path: str, hit: Hit) -> FilePlace:
        line, column = self._position(hit.start)
        end_line, end_column = self._position(hit.end)
        return FilePlace(path, line, column, end_line, end_column)

    def _position(self, offset: int) -> tuple[int, int]:
        data = self._block.data
        low, high = sorted((self._at, offset))
        crossed = data.count(b"\n", low, high)
        self._line += crossed if offset >= self._at else -crossed
        self._at = offset
        newline = data.rfind(b"\n", 0, offset)
        before = self._block.column if newline < 0 else 0
        return self._line, before + _characters(data[newline + 1 : offset]) + 1
