"""Datasets and jobs in OpenLineage 2-0-2: names, types, counts, digests and transforms, but no value.

For each column of the protected zone, the transforms say whether they mask: all do, except those that show
whole values on purpose (`keep`, `scrub`, and what looks into JSON, whose parts are listed one by one). The
SQL of a mart masks nothing: what it reads is already masked, or meant to be shown. An owner is named if it is
a team.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from secure_platform.contract.product import Product
from secure_platform.protect.plan import SHOWN, ColumnPlan, DatasetPlan, Plan
from secure_platform.protect.profile import load_profile
from secure_platform.protect.transforms import KEEP
from secure_platform.store.snapshot import Zone
from secure_platform.taxonomy.classification import Classification

SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
SOURCE: Final = "source"
RELEASE: Final = "release"
PRODUCTION: Final = "production"
_FACETS: Final = "https://openlineage.io/spec/facets/"
_SCHEMAS: Final[Mapping[str, str]] = {
    "schema": "1-2-0/SchemaDatasetFacet",
    "dataSource": "1-0-1/DatasourceDatasetFacet",
    "ownership": "1-0-1/OwnershipDatasetFacet",
    "tags": "1-0-0/TagsDatasetFacet",
    "version": "1-0-1/DatasetVersionDatasetFacet",
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
    "dataQualityMetrics": "1-0-3/DataQualityMetricsInputDatasetFacet",
    "parent": "1-2-0/ParentRunFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
}
_ORIGIN: Final = "SECURE_PLATFORM"
_TEAM: Final = "team:"

Body = dict[str, Any]
ColumnSources = Mapping[str, Sequence[tuple[str, str]]]
"""Column of a mart → (table, column) pairs it is computed from."""


@lru_cache(maxsize=1)
def producer() -> str:
    """Who says so: this version of the platform."""
    return f"urn:secure-platform:{version('secure-platform')}"


def facets(**bodies: Mapping[str, Any] | None) -> Body:
    """Facets by name, each with its schema; those that are None are left out."""
    said = {name: body for name, body in bodies.items() if body is not None}
    return {
        name: {"_producer": producer(), "_schemaURL": _schema_url(_SCHEMAS[name]), **body}
        for name, body in said.items()
    }


def _schema_url(schema: str) -> str:
    return f"{_FACETS}{schema}.json#/$defs/{schema.partition('/')[2]}"


@dataclass(frozen=True)
class Made:
    """What a run made of a dataset.

    Attributes:
        version: Its data version.
        columns: Column → type, in order.
        rows, size: None where they are not known.
        sources: Of a mart: where its columns come from.
    """

    version: str
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    size: int | None = None
    sources: ColumnSources = field(default_factory=dict)


class Described:
    """The datasets and jobs of a product.

    Args:
        product: The data product.
        plan: How its columns are protected.
        namespace: Of the names.
        models: Mart → its declared classification.
        environment: Where it runs.
    """

    def __init__(
        self, product: Product, plan: Plan, *, namespace: str, environment: str, models: Mapping[str, str]
    ) -> None:
        self._product = product
        self._plan = plan
        self._namespace = namespace
        self._environment = environment
        self._models = models

    def job(self, name: str, kind: str) -> Body:
        """A job, `<product>/<step>`."""
        described = {"processingType": "BATCH", "integration": _ORIGIN, "jobType": kind}
        return {"namespace": self._namespace, "name": name, "facets": facets(jobType=described)}

    def named(self, zone: str, name: str) -> Body:
        """A dataset by nothing but its name."""
        parts = (self._product.name, zone, name) if name else (self._product.name, zone)
        return {"namespace": self._namespace, "name": "/".join(parts)}

    def inputs(self, zone: str, name: str, made: Mapping[tuple[str, str], Made]) -> list[Body]:
        """What a step reads, with the versions that are known.

        Args:
            zone: Of what it makes.
            name: Of what it makes; empty for a release.
            made: What is known of datasets, by zone and name.
        """
        return [
            {
                **self.named(*place),
                "facets": {**self._facets(*place), **self._version(made.get(place))},
            }
            for place in self._read(zone, name, made.get((zone, name)))
        ]

    def output(self, zone: str, name: str, made: Made | None = None) -> Body:
        """What a step makes, with its columns and where they come from."""
        body = self.named(zone, name)
        body["facets"] = {
            **self._facets(zone, name, made),
            **self._version(made),
            **self._lineage(zone, name, made),
        }
        if made is not None and made.rows is not None:
            statistics = {"rowCount": made.rows, **({} if made.size is None else {"size": made.size})}
            body["outputFacets"] = facets(outputStatistics=statistics)
        return body

    def _read(self, zone: str, name: str, made: Made | None) -> Iterator[tuple[str, str]]:
        match zone:
            case Zone.RAW:
                yield SOURCE, self._product.contracts[name].source_file
            case Zone.PROTECTED:
                yield Zone.RAW, name
                yield from ((Zone.PROTECTED, parent) for parent in self._product.contracts[name].parents)
            case Zone.MARTS:
                traced = {table for pairs in (made.sources if made else {}).values() for table, _ in pairs}
                yield from (self._table(table) for table in sorted(traced or self._product.contracts))
            case _:
                yield from ((Zone.MARTS, model) for model in self._product.models)
                if zone == PRODUCTION:
                    yield RELEASE, ""

    def _table(self, name: str) -> tuple[str, str]:
        """What a mart calls a table is a dataset or another mart."""
        return (Zone.PROTECTED if name in self._product.contracts else Zone.MARTS, name)

    def _facets(self, zone: str, name: str, made: Made | None = None) -> Body:
        owner = self._owner(zone, name)
        where = f"secure-platform://{self._environment}/{self._product.name}/{zone}"
        return facets(
            dataSource={"name": f"{self._product.name}/{zone}", "uri": where},
            ownership={"owners": [{"name": owner, "type": "OWNER"}]} if owner.startswith(_TEAM) else None,
            schema=self._schema(zone, name, made),
            tags={"tags": list(self._tags(zone, name))},
        )

    def _owner(self, zone: str, name: str) -> str:
        contract = self._product.contracts.get(name) if zone in {Zone.RAW, Zone.PROTECTED} else None
        return contract.owner if contract else self._product.owner

    def _schema(self, zone: str, name: str, made: Made | None) -> Mapping[str, Any] | None:
        columns: Mapping[str, str] = made.columns if made else {}
        if zone == Zone.RAW:
            # What a source has besides its contract is named by the source: it is not told.
            declared = {each.name: each.logical_type for each in self._product.contracts[name].columns}
            columns = {each: columns.get(each, kind) for each, kind in declared.items()}
        elif not columns and zone == Zone.PROTECTED:
            columns = {each.column: each.output_type or "" for each in self._outputs(name)}
        fields = [{"name": column, "type": kind} for column, kind in columns.items()]
        return {"fields": fields} if fields else None

    def _tags(self, zone: str, name: str) -> Iterator[Body]:
        product = {"product": self._product.name, "zone": str(zone), "environment": self._environment}
        highest = {"classification": self._classification(zone, name)}
        for key, value in {**product, **highest}.items():
            yield {"key": key, "value": value, "source": _ORIGIN}
        if zone == Zone.RAW:
            for column in self._product.contracts[name].columns:
                yield from _column_tags(column.name, column.classification.label, column.info_type)
        elif zone == Zone.PROTECTED:
            for planned in self._outputs(name):
                label = planned.classification.label
                yield from _column_tags(planned.column, label, planned.info_type, planned.full_name)

    def _classification(self, zone: str, name: str) -> str:
        contracts = self._product.contracts
        if zone == Zone.RAW:
            return contracts[name].classification.label
        if zone == SOURCE:
            found = (each for each in contracts.values() if each.source_file == name)
            return max(each.classification for each in found).label
        if zone == Zone.PROTECTED:
            return max(
                (each.classification for each in self._outputs(name)), default=Classification.PUBLIC
            ).label
        if name in self._models:
            return self._models[name]
        outputs = (each for dataset in self._plan.datasets.values() for each in dataset.outputs)
        return max((each.classification for each in outputs), default=Classification.PUBLIC).label

    def _version(self, made: Made | None) -> Body:
        return facets(version={"datasetVersion": made.version}) if made else {}

    def _lineage(self, zone: str, name: str, made: Made | None) -> Body:
        match zone:
            case Zone.RAW:
                source = (SOURCE, self._product.contracts[name].source_file)
                contract = self._product.contracts[name]
                unstored = load_profile(self._product.profile).unstored(contract)
                fields = {
                    each.name: [self._field(source, each.name, [_GONE if each.name in unstored else _SAME])]
                    for each in contract.columns
                }
            case Zone.PROTECTED:
                fields = {
                    each.column: [self._field((Zone.RAW, name), each.column, list(_transformations(each)))]
                    for each in self._outputs(name)
                }
            case Zone.MARTS:
                traced = made.sources if made else {}
                fields = {
                    column: [self._field(self._table(table), source, [_SQL]) for table, source in pairs]
                    for column, pairs in traced.items()
                }
            case _:
                columns_read = made.columns if made and zone == PRODUCTION else {}
                fields = {each: [self._field((Zone.MARTS, name), each, [_SAME])] for each in columns_read}
        rows = self._rows(zone, name)
        told = {column: {"inputFields": read} for column, read in fields.items()}
        return facets(columnLineage={"fields": told, **({"dataset": rows} if rows else {})}) if told else {}

    def _rows(self, zone: str, name: str) -> list[Body]:
        """What decides which rows of a protected dataset there are: its foreign keys, and who stands out."""
        if zone != Zone.PROTECTED:
            return []
        plan = self._plan.datasets[name]
        keys = [
            self._field((Zone.PROTECTED, each.reference.dataset), each.reference.column, [_JOIN])
            for each in plan.outputs
            if each.reference
        ]
        quasi = plan.suppression.quasi if plan.suppression else ()
        return keys + [self._field((Zone.RAW, name), column, [_FILTER]) for column in quasi]

    def _field(self, place: tuple[str, str], column: str, how: list[Body]) -> Body:
        return {**self.named(*place), "field": column, "transformations": how}

    def _outputs(self, name: str) -> tuple[ColumnPlan, ...]:
        plan: DatasetPlan = self._plan.datasets[name]
        return plan.outputs


def _transformation(kind: str, subtype: str, *, masking: bool, description: str = "") -> Body:
    said = {"description": description} if description else {}
    return {"type": kind, "subtype": subtype, "masking": masking, **said}


_SAME: Final = _transformation("DIRECT", "IDENTITY", masking=False)
_GONE: Final = _transformation("DIRECT", "TRANSFORMATION", masking=True, description="drop")
_SQL: Final = _transformation("DIRECT", "TRANSFORMATION", masking=False)
_JOIN: Final = _transformation("INDIRECT", "JOIN", masking=False)
_FILTER: Final = _transformation("INDIRECT", "FILTER", masking=False)


def _transformations(planned: ColumnPlan) -> Iterator[Body]:
    """The transform of a column, and those that it is made of."""
    for each in planned.every():
        subtype = "IDENTITY" if each.transform == KEEP else "TRANSFORMATION"
        # Of a transform with parts, what it shows is what they show.
        masking = not each.shows_values if each.parts else each.transform not in SHOWN
        yield _transformation("DIRECT", subtype, masking=masking, description=each.full_name)


def _column_tags(
    column: str, classification: str, info_type: str | None, transform: str | None = None
) -> Iterator[Body]:
    tags = {"classification": classification, "info_type": info_type, "transform": transform}
    for key, value in tags.items():
        if value:
            yield {"key": key, "value": value, "source": _ORIGIN, "field": column}


def assertions(checks: Iterable[tuple[str, bool, str]]) -> Body:
    """The checks on a dataset, (name, whether it passed, severity), as a facet."""
    told = [
        {"assertion": name, "success": passed, "severity": severity.lower()}
        for name, passed, severity in checks
    ]
    return facets(dataQualityAssertions={"assertions": told})
