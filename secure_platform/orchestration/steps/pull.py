"""Source → raw: a dataset is pulled as it is, validated, scanned, and committed whole or not at all."""

import hmac
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import polars as pl

from secure_platform.contract.model import Contract
from secure_platform.errors import DataRefusedError
from secure_platform.monitor.drift import BASELINE, Baseline, baseline_of, drift
from secure_platform.monitor.history import REPEATS, SAME_CONTENT
from secure_platform.monitor.profile import SMALLEST, Profiler
from secure_platform.notify.spans import stage
from secure_platform.orchestration.steps.context import CheckOutcome, StepContext, StepOutcome, input_key
from secure_platform.orchestration.steps.observe import (
    RAW,
    found_by,
    labels_key,
    monitored,
    remember,
    terms_of,
    treated,
)
from secure_platform.orchestration.steps.record import record_scan
from secure_platform.orchestration.steps.reports import reported
from secure_platform.orchestration.steps.scanning import ProductScan, product_scan
from secure_platform.protect.keyed import canonical_text
from secure_platform.protect.person import subject_columns
from secure_platform.protect.profile import Profile, load_profile
from secure_platform.scan.columns import Finding
from secure_platform.scan.feedback import Corrected
from secure_platform.scan.refusals import refused
from secure_platform.source.csv import LINE, Malformed, check_header
from secure_platform.source.dataset import Source, open_source
from secure_platform.store.draft import Draft
from secure_platform.store.snapshot import Snapshot, Verdict, Zone
from secure_platform.validate.casts import typed
from secure_platform.validate.rules import Validation, validate

VERDICTS: Final = ("validate", "scan")
DRIFT: Final = "drift"


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
    scan = product_scan(context.product)
    profile = load_profile(context.product.profile)
    unstored = profile.unstored(contract)
    key = input_key(
        stage="pull",
        source=fingerprint,
        unstored=unstored,
        contract=contract.digest,
        scan=scan.digest(dataset),
    )
    known = store.find(context.product.name, dataset, Zone.RAW, key)
    if known is not None:
        store.set_head(known, actor=context.requester)
        return reported(context, _outcome(context, known, source.written_at))
    with store.draft(context.product.name, dataset, Zone.RAW, actor=context.requester) as draft:
        malformed: list[Malformed] = []
        erased: list[int] = []
        profiler = Profiler(contract, labels_key(context), values=(), copies=True)
        frames = _without_erased(context, contract, _frames(source, malformed, unstored), erased)
        with stage("pull"):
            counts = draft.write_batches(frames, profiler.queries)
        before = store.head(context.product.name, dataset, Zone.RAW)
        _judge_rows(draft, contract, malformed)
        _judge_findings(context, draft, contract, scan, profile, before)
        snapshot = draft.commit(
            input_key=key,
            contract_version=contract.version,
            contract_digest=contract.digest,
            provenance={
                "run_id": context.run_id,
                "source": fingerprint,
                "extra_columns": list(extra),
                "erased_rows": _floored(sum(erased)),
            },
        )
    remember(
        context,
        snapshot,
        terms_of(contract),
        profiler.measures(counts),
        findings=found_by(snapshot.verdicts["scan"]),
        seconds=time.monotonic() - began,
        said={
            **treated(unstored),
            REPEATS: float(_repeats(before, snapshot)),
            SAME_CONTENT: float(_same_content(before, snapshot)),
        },
    )
    return reported(context, _outcome(context, snapshot, source.written_at))


def _judge_rows(draft: Draft, contract: Contract, malformed: list[Malformed]) -> None:
    """Validate the written rows, set the invalid ones aside, and record the verdict `validate`."""
    with stage("validate"):
        validation = validate(contract, draft.scan(), malformed=malformed)
    if validation.quarantine.height:
        draft.write_quarantine(_quarantine(validation, malformed))
    draft.verdict("validate", passed=validation.passed, **_validation_detail(validation))


def _judge_findings(
    context: StepContext,
    draft: Draft,
    contract: Contract,
    scan: ProductScan,
    profile: Profile,
    before: Snapshot | None,
) -> None:
    """Scan the written rows, compare with the snapshot before, and record the verdict `scan`.

    Raises:
        DataRefusedError: If something is found that may not be stored.
    """
    dataset = contract.dataset
    with stage("scan"):
        corrected = scan.findings(dataset, draft.scan().drop(LINE))
    _refuse_unstorable(dataset, corrected.findings, profile)
    wrong = refused(corrected.findings, contract, scan.scanner.types)
    usual = baseline_of(before)
    new = drift(usual, corrected.findings, scan.scanner.types)
    draft.verdict("scan", passed=not wrong, **_scan_detail(corrected, wrong, usual, new))
    place = (Zone.RAW, dataset, draft.snapshot_id)
    columns = {column.name for column in contract.columns}
    record_scan(context, place, corrected.findings, refused=wrong, columns=columns)


def _frames(source: Source, malformed: list[Malformed], unstored: Collection[str]) -> Iterator[pl.DataFrame]:
    """The rows as they are stored, without the values that may not be."""
    for batch in source.batches():
        # What could not be parsed may hold such a value anywhere.
        malformed.extend(replace(each, record=b"") if unstored else each for each in batch.malformed)
        yield batch.frame.with_columns(pl.lit(None, pl.String).alias(name) for name in unstored)


def _refuse_unstorable(dataset: str, findings: Iterable[Finding], profile: Profile) -> None:
    """Refuse data in which a scan found what may not be stored, before they are committed.

    Raises:
        DataRefusedError: Naming the columns and the reason.
    """
    found = {each.info_type: each.column for each in findings if each.info_type in profile.never_stored}
    for info_type, column in sorted(found.items()):
        raise DataRefusedError(
            f"{dataset}.{column} holds {info_type}; {profile.never_stored[info_type]}",
            "Give the column this info type, so that it is left out, or remove it at the source.",
        )


def _without_erased(
    context: StepContext, contract: Contract, frames: Iterator[pl.DataFrame], gone: list[int]
) -> Iterator[pl.DataFrame]:
    """Leave out, and count, the rows of erased persons that the source still has."""
    keys, columns = context.services.keys, subject_columns(context.product, contract)
    for frame in frames:
        left = frame
        for name, domain in columns.items():
            if not keys.any_erased(domain):
                continue
            column = contract.column(name)
            ids = left.select(canonical_text(typed(column), column.dtype))[name]
            erased = keys.erased(domain, ids.drop_nulls().unique().to_list())
            if erased:
                left = left.filter(~ids.is_in(sorted(erased)).fill_null(value=False))
        gone.append(frame.height - left.height)
        yield left


def _floored(count: int) -> str:
    """The number of rows of erased persons; a small number is not given exactly."""
    return str(count) if count == 0 or count >= SMALLEST else f"fewer than {SMALLEST}"


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


def _scan_detail(
    corrected: Corrected, wrong: Iterable[Finding], usual: Baseline | None, new: Iterable[Finding]
) -> dict[str, Any]:
    return {
        "findings": [finding_record(finding) for finding in corrected.findings],
        "refused": [finding_record(finding) for finding in wrong],
        "feedback": corrected.record(),
        DRIFT: [finding_record(finding) for finding in new],
        BASELINE: None if usual is None else usual.record(),
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


def _same_content(before: Snapshot | None, snapshot: Snapshot) -> bool:
    return before is not None and hmac.compare_digest(before.content_digest, snapshot.content_digest)


def _repeats(before: Snapshot | None, snapshot: Snapshot) -> bool:
    """Whether a different source has the same rows; the same source under another contract does not count."""
    return (
        before is not None
        and _same_content(before, snapshot)
        and before.provenance.get("source") != snapshot.provenance["source"]
    )


def _outcome(context: StepContext, snapshot: Snapshot, written: datetime) -> StepOutcome:
    validated, scanned = snapshot.verdicts["validate"], snapshot.verdicts["scan"]
    return StepOutcome(
        snapshot,
        (
            CheckOutcome("contract", validated.passed, validated.detail),
            CheckOutcome("scan", scanned.passed, _without(scanned.detail, DRIFT, BASELINE)),
            _drift_outcome(scanned),
            *monitored(
                context, snapshot, terms_of(context.product.contracts[snapshot.dataset]), RAW, written=written
            ),
        ),
    )


def _drift_outcome(scanned: Verdict) -> CheckOutcome:
    """An error if the contract does not allow the new finding, a warning if it is protected anyway."""
    new, baseline = scanned.detail[DRIFT], scanned.detail[BASELINE]
    wrong = {(each["column"], each["info_type"]) for each in scanned.detail["refused"]}
    refused_too = any((each["column"], each["info_type"]) in wrong for each in new)
    detail = {DRIFT: new, "compared_with": baseline["snapshot_id"] if baseline else "nothing yet"}
    return CheckOutcome(DRIFT, not new, detail, severity="ERROR" if refused_too else "WARN")


def _without(detail: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in detail.items() if name not in names}
