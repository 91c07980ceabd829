"""Runs one peer in its own environment: what it scans is JSON on standard input, so is its answer on output.

The peers' packages would bind ours, so they are not in the platform's environment and are imported by name.
No language model can be fetched where this runs: Presidio gets spaCy's blank English, so it knows no names.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

Answer = Iterator[list[Any]]
_CARD = "CREDIT_CARD"


def presidio_default(texts: list[str]) -> Callable[[], Answer]:
    """Spans, with the recognizers that are on for English."""
    return _presidio(texts, everything=False)


def presidio_all(texts: list[str]) -> Callable[[], Answer]:
    """Spans, with every recognizer that needs no service and no model."""
    return _presidio(texts, everything=True)


def presidio_structured(table: dict[str, list[str]]) -> Callable[[], Answer]:
    """Columns with their type."""
    structured, frames = import_module("presidio_structured"), import_module("pandas")
    builder = structured.PandasAnalysisBuilder(_analyzer(everything=False))
    frame = frames.DataFrame(table)

    def run() -> Answer:
        found = builder.generate_analysis(frame, selection_strategy="mixed")
        yield from ([column, kind] for column, kind in found.entity_mapping.items())

    return run


def presidio_anonymizer(texts: list[str]) -> Callable[[], Answer]:
    """Every text encrypted whole: the spans are given, nothing is looked for."""
    anonymizer = import_module("presidio_anonymizer")
    entities = import_module("presidio_anonymizer.entities")
    engine, operators = anonymizer.AnonymizerEngine(), _encrypting(entities)

    def run() -> Answer:
        for text in texts:
            span = entities.RecognizerResult(entity_type=_CARD, start=0, end=len(text), score=1.0)
            done = engine.anonymize(text=text, analyzer_results=[span], operators=operators)
            yield [len(done.text)]

    return run


def presidio_search_and_encrypt(texts: list[str]) -> Callable[[], Answer]:
    """What every text is found to hold encrypted, with the recognizers that are on for English."""
    anonymizer = import_module("presidio_anonymizer")
    entities = import_module("presidio_anonymizer.entities")
    engine, analyzer = anonymizer.AnonymizerEngine(), _analyzer(everything=False)
    operators = {"DEFAULT": _encrypting(entities)[_CARD]}

    def run() -> Answer:
        for text in texts:
            spans = analyzer.analyze(text=text, language="en")
            done = engine.anonymize(text=text, analyzer_results=spans, operators=operators)
            yield [len(done.text)]

    return run


def presidio_structured_encrypt(table: dict[str, list[str]]) -> Callable[[], Answer]:
    """Every column of a table encrypted: what each holds is given."""
    structured, frames = import_module("presidio_structured"), import_module("pandas")
    entities = import_module("presidio_anonymizer.entities")
    engine, operators = structured.StructuredEngine(), _encrypting(entities)
    frame = frames.DataFrame(table)
    holds = structured.StructuredAnalysis(entity_mapping=dict.fromkeys(table, _CARD))

    def run() -> Answer:
        done = engine.anonymize(frame, holds, operators=operators)
        yield [len(done)]

    return run


def _encrypting(entities: Any) -> dict[str, Any]:
    return {_CARD: entities.OperatorConfig("encrypt", {"key": "0123456789abcdef0123456789abcdef"})}


def detect_secrets(files: dict[str, str]) -> Callable[[], Answer]:
    """Name and line of each secret in some files, with its default plugins and filters."""
    secrets, settings = import_module("detect_secrets"), import_module("detect_secrets.settings")

    def run() -> Answer:
        with tempfile.TemporaryDirectory() as folder, settings.default_settings():
            for place, (name, text) in enumerate(files.items()):
                path = Path(folder, f"{place}{Path(name).suffix}")
                path.write_text(text, encoding="utf-8")
                found = secrets.SecretsCollection()
                found.scan_file(str(path))
                yield from ([name, secret.line_number] for _, secret in found)

    return run


def _presidio(texts: list[str], *, everything: bool) -> Callable[[], Answer]:
    analyzer = _analyzer(everything=everything)

    def run() -> Answer:
        for place, text in enumerate(texts):
            for each in analyzer.analyze(text=text, language="en"):
                yield [place, each.start, each.end, each.entity_type, each.score]

    return run


def _analyzer(*, everything: bool) -> Any:
    suffixes: Any = import_module("tldextract")
    # Its recognizer of addresses would fetch the list of public suffixes from the network.
    suffixes.extract = suffixes.TLDExtract(suffix_list_urls=(), cache_dir=None)
    presidio = import_module("presidio_analyzer")
    engines, recognizers = import_module("presidio_analyzer.nlp_engine"), None
    engine = engines.SpacyNlpEngine()
    engine.nlp = {"en": import_module("spacy").blank("en")}
    if everything:
        recognizers = presidio.RecognizerRegistry()
        recognizers.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
        known = {each.name for each in recognizers.recognizers}
        module = import_module("presidio_analyzer.predefined_recognizers")
        for name in dir(module):
            kind = getattr(module, name)
            pattern = isinstance(kind, type) and issubclass(kind, presidio.PatternRecognizer)
            if pattern and kind is not presidio.PatternRecognizer and name not in known:
                recognizers.add_recognizer(kind(supported_language="en"))
    return presidio.AnalyzerEngine(registry=recognizers, nlp_engine=engine, supported_languages=["en"])


PEERS = {
    each.__name__: each
    for each in (
        presidio_default,
        presidio_all,
        presidio_structured,
        presidio_anonymizer,
        presidio_search_and_encrypt,
        presidio_structured_encrypt,
        detect_secrets,
    )
}


def main() -> None:
    """Measure one peer."""
    run = PEERS[sys.argv[1]](json.load(sys.stdin))
    wall, cpu = time.perf_counter(), time.process_time()
    found = list(run())
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    json.dump({**seconds, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
