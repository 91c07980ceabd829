"""Personal data in texts of any length: read by pieces that end with a line, told by line and column.

All places of one info type in a text are one finding; it counts them all and tells the first of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Final, Protocol

from secure_platform.scan.report import SPANS, Reported, Span
from secure_platform.scan.secrets.findings import fingerprint

PIECE: Final = 1 << 20
LONGEST_LINE: Final = 4 << 20


class TextSpan(Protocol):
    """What a searcher of texts tells: an info type at an offset, never the text there."""

    @property
    def start(self) -> int:
        """Offset of its first character."""

    @property
    def end(self) -> int:
        """Offset behind its last character."""

    @property
    def info_type(self) -> str:
        """What it is."""

    @property
    def confidence(self) -> float:
        """0-1."""

    @property
    def reasons(self) -> Sequence[str]:
        """What the confidence rests on."""


class TextSearcher(Protocol):
    """Finds info types in a text."""

    def spans(self, text: str) -> Sequence[TextSpan]:
        """Where each is."""


@dataclass
class _Kind:
    """The places of one info type.

    Attributes:
        rows: How many there are.
        spans: The first of them.
    """

    rows: int = 0
    confidence: float = 0.0
    reasons: dict[str, None] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    def add(self, span: TextSpan, place: Span) -> None:
        self.rows += 1
        self.confidence = max(self.confidence, span.confidence)
        self.reasons |= dict.fromkeys(span.reasons)
        if len(self.spans) < SPANS:
            self.spans.append(place)


class TextFindings:
    """What is found in the pieces of one text.

    Args:
        searcher: Looks at a piece.
        source: As the report calls the text.
        key: For the fingerprints.
    """

    def __init__(self, searcher: TextSearcher, source: str, key: bytes) -> None:
        self._searcher = searcher
        self._source = source
        self._key = key
        self._kinds: dict[str, _Kind] = {}

    def add(self, text: str, line: int) -> None:
        """Look at a piece that begins with this line."""
        places = _Places(line, text)
        for span in sorted(self._searcher.spans(text), key=lambda span: span.start):
            self._kinds.setdefault(span.info_type, _Kind()).add(span, places.span(span.start, span.end))

    def add_stream(self, stream: IO[bytes]) -> None:
        """Look at a whole text in UTF-8."""
        line = 1
        while piece := stream.read(PIECE) + stream.readline(LONGEST_LINE):
            text = piece.decode("utf-8-sig" if line == 1 else "utf-8", errors="replace")
            self.add(text, line)
            line += text.count("\n")

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
                rows=kind.rows,
                ratio=None,
                reasons=tuple(kind.reasons),
                fingerprint=fingerprint(self._key, *place, name.encode()),
                spans=tuple(kind.spans),
            )
            for name, kind in self._kinds.items()
        ]


class _Places:
    """Lines and columns of offsets that do not go back."""

    def __init__(self, line: int, text: str) -> None:
        self._line, self._text, self._at = line, text, 0

    def span(self, start: int, end: int) -> Span:
        line, column = self._position(start)
        self._line, self._at = line, start
        end_line, end_column = self._position(end)
        return Span(line, column, end_line, end_column)

    def _position(self, offset: int) -> tuple[int, int]:
        line = self._line + self._text.count("\n", self._at, offset)
        return line, offset - self._text.rfind("\n", 0, offset)
