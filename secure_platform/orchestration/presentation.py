"""How contracts, plans and snapshots appear in Dagster: columns with tags, counts, digests, no values."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from secure_platform.contract.model import Column, Contract, Monitor
from secure_platform.contract.product import Product
from secure_platform.orchestration.resources import SNAPSHOT_ID
from secure_platform.orchestration.steps.context import CheckOutcome
from secure_platform.orchestration.steps.observe import MONITORED
from secure_platform.protect.plan import DatasetPlan
from secure_platform.settings import Settings
from secure_platform.source.csv import LINE
from secure_platform.store.snapshot import Snapshot, Zone

CLASSIFICATION_TAG = "secure/classification"
ZONE_TAG = "secure/zone"
PRODUCT_TAG = "secure/product"
FOUND_TAG = "found"
COLUMN_SCHEMA = "dagster/column_schema"
PAGE = "secure/page"
_FINDING = (
    ("column", "string"),
    ("info_type", "string"),
    ("count", "int"),
    ("confidence", "string"),
    ("reasons", "string"),
)
_LINE = dg.TableColumn(LINE, description="Line of the source file that the row begins on.")


def asset_key(product: Product, zone: Zone, name: str) -> dg.AssetKey:
    """`<product>/<zone>/<dataset or model>`."""
    return dg.AssetKey([product.name, str(zone), name])


def zone_group(product: Product, zone: str) -> str:
    """Each zone of a product is a group of its own: names of tables return in every zone."""
    return f"{product.name}_{zone}"


def with_page(spec: dg.AssetSpec, settings: Settings) -> dg.AssetSpec:
    """The asset with a link to the page about it: its releases, or its place on the data map."""
    product, zone, *name = spec.key.path
    path = (
        f"/releases/{product}"
        if zone in {"release", "production"}
        else "/".join(["/data-map", product, *name])
    )
    return spec.merge_attributes(metadata={PAGE: page_link(settings, path)})


def page_link(settings: Settings, path: str) -> dg.UrlMetadataValue:
    """A link to one of the governance pages, in the same server unless the settings name its address."""
    return dg.MetadataValue.url((settings.server.url or "").rstrip("/") + path)


def contract_schema(contract: Contract, plan: DatasetPlan) -> dg.TableSchema:
    """The contract's columns, tagged with classification, info type and the transform they will get."""
    transforms = {column.column: column.transform for column in plan.columns}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.logical_type,
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=not column.required,
                    unique=contract.is_key(column),
                    other=_other_constraints(column),
                ),
                tags=_column_tags(column.classification.label, column.info_type, transforms.get(column.name)),
            )
            for column in contract.columns
        ]
    )


def plan_schema(plan: DatasetPlan) -> dg.TableSchema:
    """The columns that the plan lets out."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.column,
                type=column.output_type or "",
                description=column.reason,
                tags=_column_tags(column.classification.label, column.info_type, column.transform),
            )
            for column in plan.outputs
        ]
    )


def snapshot_metadata(snapshot: Snapshot, declared: dg.TableSchema) -> dict[str, Any]:
    """What a materialization shows about its snapshot: the columns it really has, with what is declared."""
    found = _found(snapshot)
    return {
        COLUMN_SCHEMA: _snapshot_schema(snapshot, declared, found),
        SNAPSHOT_ID: snapshot.snapshot_id,
        "content_digest": snapshot.content_digest,
        "file_digest": snapshot.file_digest,
        "contract_version": snapshot.contract_version,
        "reused": snapshot.reused,
        "rows_left_out": rows_left_out(snapshot),
        "size_bytes": snapshot.bytes,
        "findings": findings_table(found),
        "dagster/row_count": snapshot.rows,
    }


def findings_table(found: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    """Findings as a table: columns, types, counts and reasons."""
    records = [
        dg.TableRecord({**each, "reasons": ", ".join(each["reasons"])} if "reasons" in each else dict(each))
        for each in found
    ]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(*column) for column in _FINDING]))


def _found(snapshot: Snapshot) -> list[Mapping[str, Any]]:
    """What the scans of a snapshot found."""
    verdicts = (snapshot.verdicts.get(stage) for stage in ("scan", "residual"))
    return [each for verdict in verdicts if verdict for each in verdict.detail["findings"]]


def _snapshot_schema(
    snapshot: Snapshot, declared: dg.TableSchema, found: Sequence[Mapping[str, Any]]
) -> dg.TableSchema:
    known = {column.name: column for column in (*declared.columns, _LINE)}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=dtype,
                description=known[name].description if name in known else None,
                constraints=known[name].constraints if name in known else None,
                tags={**(known[name].tags if name in known else {}), **_found_tag(name, found)},
            )
            for name, dtype in snapshot.columns.items()
        ]
    )


def _found_tag(column: str, found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    kinds = [str(each["info_type"]) for each in found if each["column"] == column]
    return {FOUND_TAG: ", ".join(kinds)} if kinds else {}


def rows_left_out(snapshot: Snapshot) -> int:
    """Rows that were quarantined: invalid ones of a raw snapshot, orphans of a protected one."""
    validated, references = snapshot.verdicts.get("validate"), snapshot.verdicts.get("references")
    return (int(validated.detail["invalid_rows"]) if validated else 0) + (
        int(references.detail["orphans"]) if references else 0
    )


def monitor_specs(key: dg.AssetKey, monitor: Monitor, names: Sequence[str]) -> list[dg.AssetCheckSpec]:
    """What the metrics history says; it stops what comes after if the contract asks for that."""
    blocking = monitor.severity == "error"
    return [
        dg.AssetCheckSpec(name, asset=key, description=MONITORED[name], blocking=blocking) for name in names
    ]


def check_result(key: dg.AssetKey, outcome: CheckOutcome) -> dg.AssetCheckResult:
    """An outcome as Dagster shows it."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=outcome.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity[outcome.severity],
        metadata={
            **{name: _shown(value) for name, value in outcome.detail.items()},
            **({"plot": dg.MetadataValue.md(outcome.plot)} if outcome.plot else {}),
        },
    )


def _shown(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    if isinstance(value, list) and all(isinstance(item, Mapping) and "info_type" in item for item in value):
        return findings_table(value)
    return dg.MetadataValue.json(value) if isinstance(value, (list, Mapping)) else value


def _column_tags(classification: str, info_type: str | None, transform: str | None) -> dict[str, str]:
    tags = {"classification": classification}
    if info_type:
        tags["info_type"] = info_type
    if transform:
        tags["transform"] = transform
    return tags


def _other_constraints(column: Column) -> list[str]:
    constraints = []
    if column.primary_key:
        constraints.append("primary key")
    if column.reference:
        constraints.append(f"references {column.reference.dataset}.{column.reference.column}")
    limits = {
        "at least {}": column.minimum,
        "at most {}": column.maximum,
        "at least {} characters": column.min_length,
        "at most {} characters": column.max_length,
    }
    constraints += [words.format(limit) for words, limit in limits.items() if limit is not None]
    if column.format:
        constraints.append(f"spelled {column.format}")
    if column.pattern:
        constraints.append(f"matches {column.pattern}")
    if column.enum:
        constraints.append(f"one of {', '.join(column.enum)}")
    return constraints
