"""Secrets: found and missed on labelled samples, files and cells per second, beside other ways to use rules.

The labels are what CredSweeper reports on its own samples: the opinion of one good tool. `secret_labels.yaml`
says where a reader disagrees; every figure of accuracy is given both ways. The samples stay in their archive.
"""

import gzip
import io
import json
import os
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import polars as pl
import yaml

from benchmarks import peers
from benchmarks.bench import Bench, Figure
from benchmarks.data import write_orders
from benchmarks.measure import Stopwatch
from secure_platform.scan.secrets.columns import scan_columns
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.engine import Engine
from secure_platform.scan.secrets.findings import MINIMUM_CONFIDENCE, SecretFinding
from secure_platform.scan.secrets.scanner import SecretScanner, is_binary

REFERENCE: Final = "what CredSweeper reports"
READER: Final = "the same with a reader's corrections"
PLAIN: Final = "the same rules, each searched by Python's re"
DETECT: Final = "detect-secrets with its default plugins"
CORRECTIONS: Final = Path(__file__).with_name("secret_labels.yaml")
SAMPLES: Final = "tests/samples/"
PLAIN_SHARE: Final = 200
"""The peer reads one of so many bytes: it would take hours."""
Span = tuple[int, int]


def run(bench: Bench) -> list[Figure]:
    """Accuracy where the samples are there; speed on generated rows everywhere."""
    figures = [*_accuracy(), *_peer(bench)] if (data() / "secrets").is_dir() else []
    parquet, csv = (bench.folder / f"orders.{kind}" for kind in ("parquet", "csv"))
    write_orders(parquet, bench.scale.step_rows)
    pl.scan_parquet(parquet).sink_csv(csv)
    more: dict[str, Any] = {"path": str(csv), "repeats": bench.scale.repeats}
    ours = bench.measure("file", "secret_scan:files", **more)
    cells = bench.measure("cells", "secret_scan:cells", **more)
    plain = bench.measure(PLAIN, "secret_scan:plain", path=str(csv))
    rate, their_rate = (each.detail["bytes"] / each.cpu for each in (ours, plain))
    return [
        *figures,
        Figure("clean text", rate / 1e6, "MB per CPU second"),
        Figure("clean text", ours.detail["bytes"] / ours.wall / 1e6, "MB per second", "", 200, at_least=True),
        Figure(PLAIN, their_rate / 1e6, "MB per CPU second"),
        Figure("clean text", rate / their_rate, "x as fast", PLAIN),
        Figure("cells", cells.detail["cells"] / cells.wall / 1e6, "million per second", "", 1, at_least=True),
        Figure("start", cells.detail["start"], "s to read the rules"),
    ]


def data() -> Path:
    """Third-party data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SECURE_PLATFORM_TEST_DATA", beside))


def files(watch: Stopwatch, path: str) -> dict[str, Any]:
    """The rows as one text file."""
    scanner = SecretScanner(own_rules(), bytes(32))
    with watch, Path(path).open("rb") as stream:
        found = scanner.stream(stream, "orders.csv")
    return {"bytes": Path(path).stat().st_size, "findings": len(found)}


def cells(watch: Stopwatch, path: str) -> dict[str, Any]:
    """The rows as a table of text."""
    start = Stopwatch()
    with start:
        engine = Engine(own_rules(), MINIMUM_CONFIDENCE)
    frame = pl.read_csv(path, infer_schema=False)
    with watch:
        scan_columns(engine, frame.lazy())
    return {"cells": frame.height * frame.width, "start": start.wall}


def plain(watch: Stopwatch, path: str) -> dict[str, Any]:
    """What a tool does that has rules and no automaton, on a part of the file."""
    patterns = list(_compiled())
    size = max(1, Path(path).stat().st_size // PLAIN_SHARE)
    text = Path(path).read_bytes()[:size]
    with watch:
        for pattern in patterns:
            pattern.findall(text)
    return {"bytes": size, "rules": len(patterns)}


def _compiled() -> Iterator[re.Pattern[bytes]]:
    """Python has no case in the middle of a pattern: rules that need it are left out."""
    for rule in own_rules().rules.values():
        try:
            yield re.compile(rule.regex_text.encode())
        except re.error:
            continue


@dataclass
class Score:
    """Findings and labelled secrets, counted by the rule that found or missed them."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    met: int = 0
    missed: Counter[str] = field(default_factory=Counter)

    @property
    def precision(self) -> float:
        """The share of findings that are labelled."""
        return self.right.total() / (self.right.total() + self.wrong.total())

    @property
    def recall(self) -> float:
        """The share of labelled secrets that were found."""
        return self.met / (self.met + self.missed.total())


def _peer(bench: Bench) -> list[Figure]:
    """detect-secrets on the same samples, by the reader's labels."""
    if not peers.installed():
        bench.say("detect-secrets is not installed (make peers): left out")
        return []
    bench.say(DETECT)
    files = {name: text.decode(errors="replace") for name, text in _samples().items()}
    answer = peers.ask("detect_secrets", files)
    hits: defaultdict[str, set[Span]] = defaultdict(set)
    for name, line in answer.found:
        hits[name].add((line, line))
    labels = corrected(reference())
    right = sum(
        any(_touch(hit, label) for label in labels.get(n, ())) for n, each in hits.items() for hit in each
    )
    met = sum(any(_touch(hit, label) for hit in hits[n]) for n, each in labels.items() for label in each)
    return [
        Figure("precision: theirs", right / max(1, sum(map(len, hits.values()))), "", DETECT),
        Figure("recall: theirs", met / sum(map(len, labels.values())), "", DETECT),
        Figure("their rate", sum(map(len, files.values())) / answer.cpu / 1e6, "MB per CPU second", DETECT),
    ]


def _accuracy() -> list[Figure]:
    reference, reader = scores()
    return [
        Figure("precision", reference.precision, "", REFERENCE, 0.90, at_least=True),
        Figure("recall", reference.recall, "", REFERENCE, 0.85, at_least=True),
        Figure("precision", reader.precision, "", READER, 0.90, at_least=True),
        Figure("recall", reader.recall, "", READER, 0.85, at_least=True),
    ]


@cache
def scores() -> tuple[Score, Score]:
    """Against the reference as it is, and as a reader corrects it."""
    findings = found()
    labels = reference()
    return score(findings, labels), score(findings, corrected(labels))


def found() -> Mapping[str, list[SecretFinding]]:
    """What our rules find in each sample that is text."""
    scanner = SecretScanner(own_rules(), bytes(32))
    return {
        name: [] if is_binary(text) else scanner.stream(io.BytesIO(text), SAMPLES + name)
        for name, text in _samples().items()
    }


def _samples() -> Mapping[str, bytes]:
    with tarfile.open(data() / "secrets" / "credsweeper_samples.tar.gz") as archive:
        return {
            member.name.removeprefix(SAMPLES): file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }


def reference() -> dict[str, dict[Span, str]]:
    """The lines of each labelled secret, with the rule of CredSweeper; labels that share lines are one."""
    text = gzip.decompress((data() / "secrets" / "credsweeper_expected.json.gz").read_bytes())
    listed: defaultdict[str, list[tuple[Span, str]]] = defaultdict(list)
    for label in json.loads(text):
        lines = [max(1, each["line_num"]) for each in label["line_data_list"]]
        name = label["line_data_list"][0]["path"].rpartition(SAMPLES)[2]
        listed[name].append(((min(lines), max(lines)), label["rule"]))
    return {name: dict(_merged(sorted(each))) for name, each in listed.items()}


def corrected(labels: Mapping[str, Mapping[Span, str]]) -> dict[str, dict[Span, str]]:
    """The labels with a reader's additions and without what he takes for none."""
    result = {name: dict(each) for name, each in labels.items()}
    for each in yaml.safe_load(CORRECTIONS.read_text(encoding="utf-8")):
        spans = result.setdefault(each["file"], {})
        for line in each["lines"]:
            if each["secret"]:
                spans[line, line] = "a reader"
            else:
                del spans[line, line]
    return result


def _merged(spans: Iterable[tuple[Span, str]]) -> Iterator[tuple[Span, str]]:
    """Spans in order, those that overlap as one."""
    current: tuple[Span, str] | None = None
    for span, rule in spans:
        if current and span[0] <= current[0][1]:
            current = ((current[0][0], max(current[0][1], span[1])), current[1])
            continue
        if current:
            yield current
        current = (span, rule)
    if current:
        yield current


def score(findings: Mapping[str, list[SecretFinding]], labels: Mapping[str, Mapping[Span, str]]) -> Score:
    """A finding is right if a label shares a line with it; a label is met if a finding does."""
    result = Score()
    for name, listed in findings.items():
        wanted = labels.get(name, {})
        places = {(each.place.line, each.place.end_line): each.rule for each in listed}
        for each in listed:
            span = (each.place.line, each.place.end_line)
            counter = result.right if any(_touch(span, other) for other in wanted) else result.wrong
            counter[each.rule] += 1
        for span, rule in wanted.items():
            if any(_touch(span, other) for other in places):
                result.met += 1
            else:
                result.missed[rule] += 1
    return result


def _touch(one: Span, other: Span) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
