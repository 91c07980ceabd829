"""Personal data in texts of any length: read by lines in bounded memory, told by line and column.

All places of one info type in a text are one finding; it counts them all and tells the first of them. Every
line is searched, with one exception, as in columns of secrets: where most of a sample of a piece's lines hold
something, as in a log of requests, the sample stands for the piece, and the reasons say so.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from secure_platform.scan.report import SPANS, Reported, Span
from secure_platform.scan.secrets.findings import fingerprint
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.scan.text.spans import Span as Found

PIECE: Final = 1 << 20
LONGEST_LINE: Final = 1 << 20
SAMPLE: Final = 500
ESTIMATED: Final = "counted by a sample of the lines"


@dataclass
class _Kind:
    """The places of one info type.

    Attributes:
        rows: How many there are.
        spans: The first of them.
    """

    rows: float = 0
    confidence: float = 0.0
    reasons: dict[str, None] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    def add(self, found: Found, line: int, weight: float) -> None:
        self.rows += weight
        self.confidence = max(self.confidence, found.confidence)
        self.reasons |= dict.fromkeys(found.reasons)
        if weight > 1:
            self.reasons[ESTIMATED] = None
        if len(self.spans) < SPANS:
            self.spans.append(Span(line, found.start + 1, line, found.end + 1))


class TextFindings:
    """What is found in one text.

    Args:
        scanner: Searches lines.
        source: As the report calls the text.
        key: For the fingerprints.
    """

    def __init__(self, scanner: TextScanner, source: str, key: bytes) -> None:
        self._scanner = scanner
        self._source = source
        self._key = key
        self._kinds: dict[str, _Kind] = {}

    def add(self, text: str, line: int) -> int:
        """Search a piece that begins with this line; how many lines end in it."""
        lines = text.split("\n")
        found, weight = self._found(lines, line)
        for place in sorted(found):
            for each in found[place]:
                self._kinds.setdefault(each.info_type, _Kind()).add(each, line + place, weight)
        return len(lines) - 1

    def add_stream(self, stream: IO[bytes]) -> None:
        """Search a whole text in UTF-8."""
        line = 1
        while piece := stream.read(PIECE) + stream.readline(LONGEST_LINE):
            line += self.add(piece.decode("utf-8-sig" if line == 1 else "utf-8", errors="replace"), line)

    def reported(self) -> list[Reported]:
        """One finding for each info type, in the order in which they first came."""
        place = (b"text", self._source.encode(errors="replace"))
        return [
            Reported(
                source=self._source,
                column=None,
                info_type=name,
                rule=name,
                confidence=round(kind.confidence, 2),
                rows=round(kind.rows),
                ratio=None,
                reasons=tuple(kind.reasons),
                fingerprint=fingerprint(self._key, *place, name.encode()),
                spans=tuple(kind.spans),
            )
            for name, kind in self._kinds.items()
        ]

    def _found(self, lines: Sequence[str], first: int) -> tuple[Mapping[int, list[Found]], float]:
        """What is in the lines, or in a sample of them, and how many lines each stands for."""
        if len(lines) <= 2 * SAMPLE:
            return self._scanner.spans_of(lines), 1
        # The same sample in every scan of the same text; evenly spaced lines could all be of one kind.
        chosen = sorted(random.Random(first).sample(range(len(lines)), SAMPLE))  # noqa: S311 - no secret
        found = self._scanner.spans_of([lines[place] for place in chosen])
        if len(found) * 2 <= SAMPLE:
            return self._scanner.spans_of(lines), 1
        return {chosen[place]: spans for place, spans in found.items()}, len(lines) / SAMPLE
