"""Source → raw: a dataset is pulled as it is, validated, scanned, and committed whole or not at all."""

import time
from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from secure_platform.contract.model import Contract
from secure_platform.monitor.profile import Profiler
from secure_platform.orchestration.steps.context import CheckOutcome, StepContext, StepOutcome, input_key
from secure_platform.orchestration.steps.observe import RAW, found_by, labels_key, monitored, remember
from secure_platform.scan.columns import Finding, refused
from secure_platform.source.csv import LINE, Malformed, check_header
from secure_platform.source.dataset import Source, open_source
from secure_platform.store.snapshots import Snapshot, Zone
from secure_platform.validate.rules import Validation, validate

VERDICTS: Final = ("validate", "scan")


def pull(context: StepContext, dataset: str) -> StepOutcome:
    """Pull one dataset into the raw zone, or find that its snapshot is already there.

    Raises:
        DataRefusedError: If the source is missing, has the wrong columns or cannot be read. Rows that
            break a rule do not raise: the snapshot gets a failed verdict, which stops what follows.
    """
    began = time.monotonic()
    store = context.services.store
    contract = context.product.contracts[dataset]
    source = open_source(context.source, contract)
    extra = check_header(contract, source.header)
    fingerprint = source.fingerprint()
    key = input_key(stage="pull", source=fingerprint, contract=contract.digest)
    known = store.find(context.product.name, dataset, Zone.RAW, key)
    if known is not None:
        store.set_head(known, actor=context.requester)
        return _outcome(context, known)
    with store.draft(context.product.name, dataset, Zone.RAW, actor=context.requester) as draft:
        malformed: list[Malformed] = []
        profiler = Profiler(contract, labels_key(context), values=())
        counts = draft.write_batches(_frames(source, malformed), profiler.queries)
        validation = validate(contract, draft.scan(), malformed=malformed)
        findings = context.services.scanner.scan(draft.scan().drop(LINE))
        if validation.quarantine.height:
            draft.write_quarantine(_quarantine(validation, malformed))
        draft.verdict("validate", passed=validation.passed, **_validation_detail(validation))
        draft.verdict("scan", passed=not refused(findings, contract), **_scan_detail(findings, contract))
        snapshot = draft.commit(
            input_key=key,
            contract_version=contract.version,
            contract_digest=contract.digest,
            provenance={"run_id": context.run_id, "source": fingerprint, "extra_columns": list(extra)},
        )
    remember(
        context,
        snapshot,
        contract,
        profiler.measures(counts),
        findings=found_by(snapshot.verdicts["scan"]),
        seconds=time.monotonic() - began,
    )
    return _outcome(context, snapshot)


def _frames(source: Source, malformed: list[Malformed]) -> Iterator[pl.DataFrame]:
    for batch in source.batches():
        malformed.extend(batch.malformed)
        yield batch.frame


def _quarantine(validation: Validation, malformed: list[Malformed]) -> pl.DataFrame:
    """The invalid lines with their rules; a line that could not be parsed is kept as its bytes."""
    records = pl.DataFrame(
        {LINE: [m.line for m in malformed], "record": [m.record for m in malformed]},
        schema={LINE: pl.UInt64, "record": pl.Binary},
    )
    return validation.quarantine.join(records, on=LINE, how="left", maintain_order="left")


def _validation_detail(validation: Validation) -> dict[str, Any]:
    return {
        "rows": validation.rows,
        "invalid_rows": validation.invalid_rows,
        "on_invalid": validation.on_invalid,
        "failures": [
            {"column": failure.column, "rule": failure.rule, "count": failure.count}
            for failure in validation.failures
        ],
    }


def _scan_detail(findings: list[Finding], contract: Contract) -> dict[str, Any]:
    return {
        "findings": [finding_record(finding) for finding in findings],
        "refused": [finding_record(finding) for finding in refused(findings, contract)],
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding as a JSON record; it never held a value."""
    return {
        "column": finding.column,
        "info_type": finding.info_type,
        "count": finding.count,
        "confidence": f"{finding.confidence:.2f}",
        "reasons": list(finding.reasons),
    }


def _outcome(context: StepContext, snapshot: Snapshot) -> StepOutcome:
    validated, scanned = snapshot.verdicts["validate"], snapshot.verdicts["scan"]
    return StepOutcome(
        snapshot,
        (
            CheckOutcome("contract", validated.passed, validated.detail),
            CheckOutcome("scan", scanned.passed, scanned.detail),
            *monitored(context, snapshot, context.product.contracts[snapshot.dataset], RAW),
        ),
    )
