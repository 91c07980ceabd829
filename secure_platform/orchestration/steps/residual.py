"""The `residual` verdict: nothing that protection had to remove is left in what a step wrote.

The written frame is scanned like any other, and its cells are compared with the original values. The verdict
and the audit log get counts by column, never a value.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

import polars as pl

from secure_platform.notify.spans import stage
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.originals import valid_rows
from secure_platform.orchestration.steps.pull import finding_record
from secure_platform.orchestration.steps.record import record_scan
from secure_platform.orchestration.steps.scanning import product_scan
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.profile import SAFE_HARBOR
from secure_platform.protect.residual import ANY, residual_values
from secure_platform.scan.feedback import Corrected
from secure_platform.scan.refusals import residual
from secure_platform.store.draft import Draft
from secure_platform.store.snapshot import Snapshot, Zone

RESIDUAL: Final = "residual"


def judge_residual(
    context: StepContext,
    draft: Draft,
    place: tuple[Zone, str],
    raws: Mapping[str, Snapshot],
    plans: Mapping[str, DatasetPlan],
    *,
    formats: Mapping[str, Collection[str]],
) -> None:
    """Look for what must not be left in a written draft, and record the verdict `residual` on it.

    Args:
        context: Names the product.
        draft: Its rows are written.
        place: Its zone and its dataset or mart.
        raws: The snapshots whose original values must not be in it, by dataset.
        plans: What happens to the columns of these datasets; the plan of the dataset itself, if it is one.
        formats: Columns in which something is found on purpose, and which info types.

    Raises:
        IntegrityError: If a raw snapshot is not what was written.
    """
    zone, name = place
    output = draft.scan()
    left = _findings_left(context, name, output, formats)
    plan = plans[name] if zone is Zone.PROTECTED else None
    values = original_values_left(context, output, raws, plans, plan)
    columns = output.collect_schema().names()
    record_scan(
        context, (zone, name, draft.snapshot_id), left.findings, refused=left.findings, columns=columns
    )
    draft.verdict(
        RESIDUAL,
        passed=not left.findings and not values,
        findings=[finding_record(finding) for finding in left.findings],
        feedback=left.record(),
        original_values=values,
    )


@stage("scan")
def _findings_left(
    context: StepContext, table: str, output: pl.LazyFrame, formats: Mapping[str, Collection[str]]
) -> Corrected:
    """Findings in a protected frame that must not be there under the product's profile."""
    # Observed beside the write, the rows would wait for the slower of the two in a buffer without a limit.
    scan = product_scan(context.product)
    corrected = scan.findings(table, output)
    found = [
        finding
        for finding in corrected.findings
        if not {ANY, finding.info_type} & set(formats.get(finding.column, ()))
    ]
    harbor = context.product.profile == SAFE_HARBOR
    return replace(corrected, findings=residual(found, scan.scanner.types, safe_harbor=harbor))


def original_values_left(
    context: StepContext,
    output: pl.LazyFrame,
    raws: Mapping[str, Snapshot],
    plans: Mapping[str, DatasetPlan],
    plan: DatasetPlan | None,
) -> list[dict[str, Any]]:
    """Cells of a frame that equal or contain an original value which must not be there.

    Args:
        context: Opens the snapshots.
        output: The frame as it was written.
        raws: The snapshots whose originals are looked for, by dataset.
        plans: What happens to their columns.
        plan: Of the dataset that `output` is; None for a mart.

    Returns:
        `column` and `count` of each column that has such cells.

    Raises:
        IntegrityError: If a raw snapshot is not what was written.
    """
    services = context.services
    originals = [(valid_rows(services.store, raw), plans[name]) for name, raw in raws.items()]
    values = residual_values(originals, output, plan, services.keys.digest_key(RESIDUAL).key)
    return [{"column": column, "count": count} for column, count in values]
