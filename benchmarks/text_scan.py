"""Free text: spans found and missed, and megabytes and texts a second, beside Presidio.

Presidio runs with spaCy's blank model, for no other can be fetched: it knows no names, which are no part of
the comparison. The accuracy is of Presidio's own sentences, on the types that have a format; a span is right
where it overlaps a label of its type.
"""

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks import peers
from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.taxonomy.info_types import info_types

PLAIN: Final = "Polars searches every text for one pattern"
PRESIDIO: Final = {
    "presidio_default": "Presidio, default recognizers, blank spaCy model",
    "presidio_all": "Presidio, all recognizers, blank spaCy model",
}
SENTENCES: Final = "pii/presidio_synth_dataset_v2.json"
# The labels of the set that have a format, and what they are called here and by Presidio.
PATTERN_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "CREDIT_CARD": frozenset({"CREDIT_CARD"}),
    "DOMAIN_NAME": frozenset({"URL", "DOMAIN_NAME"}),
    "EMAIL_ADDRESS": frozenset({"EMAIL", "EMAIL_ADDRESS"}),
    "IBAN_CODE": frozenset({"IBAN", "IBAN_CODE"}),
    "IP_ADDRESS": frozenset({"IPV4", "IPV6", "IP_ADDRESS"}),
    "PHONE_NUMBER": frozenset({"PHONE", "PHONE_NUMBER"}),
    "US_SSN": frozenset({"US_SSN"}),
}
# Labels of names: reported, not compared.
NAMES: Final[Mapping[str, frozenset[str]]] = {
    "PERSON": frozenset({"PERSON_NAME"}),
    "STREET_ADDRESS": frozenset({"STREET_ADDRESS"}),
    "GPE": frozenset({"CITY", "PLACE_NAME"}),
}
THRESHOLD: Final = 0.4
CARD_PREFIXES: Final = {
    "4": (13, 16, 19), "51": (16,), "2223": (16,), "37": (15,), "36": (14,), "3530": (16,), "50": (12, 19),
    "6011": (16, 19), "62": (16, 17, 18, 19), "67": (12, 13, 16, 18, 19),
}  # fmt: skip
WORDS: Final = """
    account after address also and answer before card city could customer delivery every first for from have
    her his in invoice is it items later list name next not number of office on once order our paid please
    reach report said send she should state that the their then they this to under until was we week when
"""

Spans = Mapping[int, Sequence[tuple[int, int, str]]]


@dataclass(frozen=True)
class Score:
    """Spans that are right and wrong, and labels that were missed."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        """The share of spans that are right."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """The share of labels that were found."""
        return self.right / max(1, self.right + self.missed)

    @property
    def f1(self) -> float:
        """Both in one."""
        return 2 * self.right / max(1, 2 * self.right + self.wrong + self.missed)


def run(bench: Bench) -> list[Figure]:
    """Accuracy where the sentences are there; speed on generated text everywhere."""
    path = data() / SENTENCES
    size: dict[str, Any] = {"lines": bench.scale.text_lines, "repeats": bench.scale.repeats}
    clean = bench.measure("clean text", "text_scan:clean", **size)
    plain = bench.measure(PLAIN, "text_scan:plain", **size)
    full = bench.measure("text full of values", "text_scan:full", lines=bench.scale.text_lines // 20)
    cards = bench.measure("card numbers in prose", "text_scan:cards")
    rate = clean.detail["bytes"] / clean.wall / 1e6
    return [
        *(_accuracy(bench, path) if path.exists() else []),
        Figure("recall of card numbers", cards.detail["recall"], "", "", 1.0, at_least=True),
        Figure("clean text", rate, "MB per second", "", 200, at_least=True),
        Figure("clean text", clean.detail["bytes"] / clean.cpu / 1e6, "MB per CPU second"),
        Figure("clean text", clean.wall / plain.wall, "x wall", PLAIN),
        Figure("text full of values", full.detail["texts"] / full.cpu, "texts per CPU second"),
    ]


def _accuracy(bench: Bench, path: Path) -> list[Figure]:
    many = bench.scale.sentences
    ours = bench.measure("labelled sentences", "text_scan:sentences", path=str(path), many=many)
    rate = ours.detail["texts"] / ours.cpu
    figures = [
        Figure("F1, types with a format", ours.detail["f1"], "", "", 0.97, at_least=True),
        *(Figure(name, value, "") for name, value in ours.detail["names"].items()),
        Figure("sentences", rate, "per CPU second"),
    ]
    if not peers.installed():
        bench.say("Presidio is not installed (make peers): left out")
        return figures
    documents = json.loads(path.read_text(encoding="utf-8"))[:many]
    texts = [document["full_text"] for document in documents]
    for peer, name in PRESIDIO.items():
        bench.say(name)
        answer = peers.ask(peer, texts)
        found: defaultdict[int, list[tuple[int, int, str]]] = defaultdict(list)
        for place, start, end, kind, sure in answer.found:
            if sure >= THRESHOLD:
                found[place].append((start, end, kind))
        theirs = score(documents, found, PATTERN_TYPES)
        figures.append(Figure("F1, types with a format: theirs", theirs.f1, "", name))
        figures.append(Figure("sentences", rate * answer.cpu / len(texts), "x as fast", name))
    return figures


def data() -> Path:
    """Third-party data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SECURE_PLATFORM_TEST_DATA", beside))


def sentences(watch: Stopwatch, path: str, many: int | None) -> dict[str, Any]:
    """The labelled sentences, and how right we are."""
    documents = json.loads(Path(path).read_text(encoding="utf-8"))[:many]
    scanner = TextScanner(info_types())
    texts = [document["full_text"] for document in documents]
    scanner.spans_of(texts)
    with watch:
        spans = scanner.spans_of(texts)
    found = {place: [(s.start, s.end, s.info_type) for s in each] for place, each in spans.items()}
    names: dict[str, float] = {}
    for label, kinds in NAMES.items():
        one = score(documents, found, {label: kinds})
        names |= {f"precision of {label}": one.precision, f"recall of {label}": one.recall}
    return {"texts": len(texts), "f1": score(documents, found, PATTERN_TYPES).f1, "names": names}


def score(
    documents: Iterable[Mapping[str, Any]], found: Spans, wanted: Mapping[str, frozenset[str]]
) -> Score:
    """Spans and labels of the wanted types, overlap for overlap."""
    counts: Counter[str] = Counter()
    for place, document in enumerate(documents):
        labels = [(s["start_position"], s["end_position"], s["entity_type"]) for s in document["spans"]]
        for label, kinds in wanted.items():
            told = [span for span in found.get(place, ()) if span[2] in kinds]
            meant = [each for each in labels if each[2] == label]
            met = [each for each in meant if any(_touch(each, span) for span in told)]
            counts["right"] += len(met)
            counts["missed"] += len(meant) - len(met)
            counts["wrong"] += sum(not any(_touch(each, span) for each in meant) for span in told)
    return Score(counts["right"], counts["wrong"], counts["missed"])


def _touch(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def clean(watch: Stopwatch, lines: int) -> dict[str, Any]:
    """Prose without a value."""
    texts = list(_prose(lines))
    scanner = TextScanner(info_types())
    scanner.spans_of(texts[:1000])
    with watch:
        found = scanner.spans_of(texts)
    return {"bytes": sum(map(len, texts)), "found": len(found)}


def full(watch: Stopwatch, lines: int) -> dict[str, Any]:
    """Prose with several values in each line."""
    texts = [
        f"{text} Mail user{n}@example.org or call +1 212 555 {n % 10000:04d} from 10.1.{n % 250}.{n % 199}"
        for n, text in enumerate(_prose(lines))
    ]
    scanner = TextScanner(info_types())
    scanner.spans_of(texts[:1000])
    with watch:
        found = scanner.spans_of(texts)
    return {"texts": len(texts), "found": len(found)}


def plain(watch: Stopwatch, lines: int) -> dict[str, Any]:
    """One pass over the same text."""
    texts = pl.Series("text", list(_prose(lines)))
    with watch:
        texts.str.contains("@[a-z]+").sum()
    return {}


def cards(watch: Stopwatch) -> dict[str, Any]:
    """Valid numbers of each network and length, with every separator, in prose."""
    draw = random.Random(5)  # noqa: S311 - the same numbers every time
    printed = [
        separator.join(number[place : place + 4] for place in range(0, len(number), 4))
        for prefix, sizes in CARD_PREFIXES.items()
        for size in sizes
        for number in (_valid(prefix, size, draw) for _ in range(20))
        for separator in ("", " ", "-")
    ]
    texts = [f"Order {place}: he paid with {number}, on 3 May." for place, number in enumerate(printed)]
    scanner = TextScanner(info_types())
    with watch:
        spans = scanner.spans_of(texts)
    right = sum(
        any(s.info_type == "CREDIT_CARD" and text[s.start : s.end] == number for s in spans.get(place, ()))
        for place, (text, number) in enumerate(zip(texts, printed, strict=True))
    )
    return {"recall": right / len(printed), "cards": len(printed)}


def _prose(lines: int) -> Iterator[str]:
    draw = random.Random(3)  # noqa: S311 - the same text every time
    words = WORDS.split()
    for _ in range(lines):
        yield " ".join(draw.choices(words, k=draw.randrange(8, 24))).capitalize() + "."


def _valid(prefix: str, size: int, draw: random.Random) -> str:
    body = prefix + "".join(str(draw.randrange(10)) for _ in range(size - len(prefix) - 1))
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(body)))
    return body + str(-sum(each // 10 + each % 10 for each in doubled) % 10)
