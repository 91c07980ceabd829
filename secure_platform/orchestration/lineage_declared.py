"""The declared lineage of a product, for OpenLineage: it needs no run, and runs refer to it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from secure_platform.contract.product import Product
from secure_platform.orchestration.openlineage import (
    PRODUCTION,
    RELEASE,
    SPEC,
    Body,
    Described,
    Made,
    producer,
)
from secure_platform.orchestration.steps.protect import current_plan, output_classification
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone


def namespace(services: Services) -> str:
    """What names of jobs and datasets begin with."""
    settings = services.settings
    given = settings.lineage.namespace if settings.lineage else None
    return given or f"secure_platform://{settings.environment}"


def describe(services: Services, product: Product) -> Described:
    """The datasets and jobs of a product, as it is declared now."""
    # dbt's specs need Dagster's integration, which takes a while to import.
    from secure_platform.orchestration.dbt import load_manifest, part_of  # noqa: PLC0415
    from secure_platform.orchestration.dbt_specs import declared_classification  # noqa: PLC0415

    plan = current_plan(product, services.keys)
    default = output_classification(plan)
    nodes = part_of(load_manifest(services.settings), product.name)["nodes"].values()
    models = {
        node["name"]: declared_classification(node, default).label
        for node in nodes
        if node["resource_type"] == "model"
    }
    return Described(
        product,
        plan,
        namespace=namespace(services),
        environment=services.settings.environment,
        models=models,
    )


def declared(services: Services, product: Product) -> list[Body]:
    """What a product is declared to be made of, as events of jobs without a run; the newest marts say whence.

    Raises:
        IntegrityError: If the newest snapshot of a mart is not what was written.
    """
    described, at = describe(services, product), datetime.now(UTC)
    marts = {model: services.store.head(product.name, model, Zone.MARTS) for model in product.models}
    made: dict[tuple[str, str], Made] = {
        (Zone.MARTS, model): Made(
            mart.content_digest, mart.columns, sources=mart.provenance.get("column_lineage", {})
        )
        for model, mart in marts.items()
        if mart is not None
    }
    made |= {(PRODUCTION, name): mart for (_, name), mart in made.items()}
    steps: list[tuple[str, list[tuple[str, str]]]] = [
        (f"{zone}/{name}", [(zone, name)])
        for zone in (Zone.RAW, Zone.PROTECTED)
        for name in product.contracts
    ]
    steps += [(zone, outputs_of(product, zone, "")) for zone in (Zone.MARTS, RELEASE, PRODUCTION)]
    return [
        {
            "eventTime": at.isoformat(),
            "producer": producer(),
            "schemaURL": f"{SPEC}JobEvent",
            "job": described.job(f"{product.name}/{step}", "ASSET"),
            "inputs": _without_versions(inputs_of(described, outputs, made)),
            "outputs": _without_versions([described.output(*each, made.get(each)) for each in outputs]),
        }
        for step, outputs in steps
    ]


def _without_versions(datasets: Sequence[Body]) -> list[Body]:
    """What is declared is of no version."""
    return [
        {**each, "facets": {name: body for name, body in each["facets"].items() if name != "version"}}
        for each in datasets
    ]


def outputs_of(product: Product, zone: str, name: str) -> list[tuple[str, str]]:
    """What a step makes, by zone and name."""
    if zone in {Zone.MARTS, PRODUCTION}:
        return [(zone, model) for model in product.models]
    return [(zone, name)]


def inputs_of(
    described: Described, outputs: Sequence[tuple[str, str]], made: Mapping[tuple[str, str], Made]
) -> list[Body]:
    """What a step reads that it does not make itself, each once."""
    own = {described.named(*each)["name"] for each in outputs}
    read = {body["name"]: body for each in outputs for body in described.inputs(*each, made)}
    return [body for name, body in sorted(read.items()) if name not in own]
