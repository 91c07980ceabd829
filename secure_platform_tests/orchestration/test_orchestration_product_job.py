"""A job that is resolved among its own assets is the job that Dagster makes of the whole project."""

import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.assets.job.asset_job import get_asset_graph_for_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.remote_representation.external_data import JobDataSnap
from dagster_shared.record import as_dict

from secure_platform.orchestration.product_job import ProductJob, expect_owners, product_job, surroundings

A, B, C, D, E = (dg.AssetKey(["p", name]) for name in "abcde")


def definitions(*jobs: UnresolvedAssetJobDefinition) -> dg.Definitions:
    """Assets of a product, a check of somebody else's, and another product's assets of the same names."""

    @dg.asset(key=A, check_specs=[dg.AssetCheckSpec("own", asset=A)])
    def a():  # type: ignore[no-untyped-def]  # noqa: ANN202 - Dagster reads it
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])

    @dg.multi_asset(specs=[dg.AssetSpec(B, deps=[A]), dg.AssetSpec(C, deps=[A])], can_subset=False)
    def both():  # type: ignore[no-untyped-def]  # noqa: ANN202 - Dagster reads it
        yield from (dg.MaterializeResult(asset_key=key) for key in (B, C))

    @dg.asset(key=D, deps=[B])
    def d() -> None:
        """Made of one of the two."""

    @dg.asset(key=["q", "d"], deps=[dg.AssetKey(["q", "a"]), D])
    def other() -> None:
        """Another product's."""

    @dg.asset_check(asset=B, additional_deps=[E])
    def foreign() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    assets: list[Any] = [a, both, d, dg.AssetSpec(E), other]
    return dg.Definitions(assets=assets, asset_checks=[foreign], jobs=list(jobs))


def snapshot(job: UnresolvedAssetJobDefinition) -> JobDataSnap:
    resolved = definitions(job).resolve_job_def("job")
    return JobDataSnap.from_job_def(resolved, include_parent_snapshot=False)


@pytest.mark.parametrize("keys", [[A], [B, C], [D], [A, B, C], [A, B, C, D]], ids=str)
def test_it_is_the_job_that_dagster_makes(keys: list[dg.AssetKey]) -> None:
    stock = dg.define_asset_job("job", selection=dg.AssetSelection.assets(*keys), tags={"k": "v"})
    own = product_job(stock)
    assert type(own) is ProductJob
    assert as_dict(own) == as_dict(stock)
    assert snapshot(own) == snapshot(stock)
    graph = definitions().resolve_asset_graph()
    of_all, of_own = (
        get_asset_graph_for_job(each, stock.selection)
        for each in (graph, surroundings(graph, stock.selection))
    )
    for names in ("get_all_asset_keys", "asset_check_keys", "executable_asset_keys"):
        first, second = (getattr(each, names) for each in (of_all, of_own))
        assert (first() if callable(first) else first) == (second() if callable(second) else second)
    for key in of_all.get_all_asset_keys():
        assert of_own.get(key).parent_keys == of_all.get(key).parent_keys


def test_what_others_checks_need_belongs_to_it_and_other_products_do_not() -> None:
    graph = definitions().resolve_asset_graph()
    own = surroundings(graph, dg.AssetSelection.assets(D))
    assert own.get_all_asset_keys() == {A, B, C, D, E}
    assert {check.name for check in own.asset_check_keys} == {"own", "foreign"}


def test_a_part_of_it_is_launched_alone() -> None:
    job = product_job(dg.define_asset_job("job", selection=dg.AssetSelection.assets(A, D)))
    repository = definitions(job).get_repository_def()
    part = repository.get_job("job").get_subset(asset_selection={D})
    assert part.asset_layer.selected_asset_keys == {D}
    with dg.DagsterInstance.ephemeral() as instance:
        assert part.execute_in_process(instance=instance).success


def test_the_jobs_of_our_products_are_those_that_dagster_makes(parsed_home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(parsed_home))
        from secure_platform.definitions import defs  # noqa: PLC0415 - the home comes first

        loaded = defs()
    own = [job for job in loaded.jobs or () if isinstance(job, ProductJob)]
    assert {job.name for job in own} >= {"healthcare_build", "healthcare_retokenize", "healthcare_deploy"}
    graph = loaded.resolve_asset_graph()
    for job in own:
        stock = UnresolvedAssetJobDefinition(**as_dict(job))
        first, second = (
            JobDataSnap.from_job_def(each.resolve(graph, resource_defs=loaded.resources), False)
            for each in (job, stock)
        )
        assert first == second


@pytest.mark.parametrize(
    ("text", "category", "module", "told"),
    [
        ("Parameter `owners` of function", dg.BetaWarning, "dagster._core.definitions.job_definition", 0),
        ("Parameter `owners` of function", dg.BetaWarning, "secure_platform.orchestration.automation", 0),
        ("Parameter `owners` of function", dg.BetaWarning, "adopter.jobs", 1),
        ("Parameter `freshness` of function", dg.BetaWarning, "dagster._core.definitions.job_definition", 1),
        ("Parameter `owners` of function", UserWarning, "dagster._core.definitions.job_definition", 1),
    ],
)
def test_owners_of_jobs_and_nothing_else_is_silenced(
    recwarn: pytest.WarningsRecorder, text: str, category: type[Warning], module: str, told: int
) -> None:
    expect_owners()
    warnings.warn_explicit(text, category, "x.py", 1, module)
    assert len(recwarn) == told


def test_a_project_that_was_loaded_among_other_filters_makes_its_jobs_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """As the code server does: Dagster loads the folder in `catch_warnings`, and makes the jobs later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = product_job(dg.define_asset_job("j", selection="*", owners=["team:x"]))
    made = dg.Definitions(assets=[dg.asset(name="b")(lambda: None)], jobs=[job])
    assert made.resolve_job_def("j").owners == ["team:x"]
    assert [str(each.message) for each in recwarn] == []
