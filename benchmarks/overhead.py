"""What a step costs before it does anything, and what a command costs before it says anything."""

import os
from pathlib import Path
from typing import Any, Final

import dagster as dg

from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch
from benchmarks.shop import shop
from secure_platform.access.resources import Action
from secure_platform.orchestration.automation import build_job_name
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.home import open_instance, prepare
from secure_platform.orchestration.resources import PlatformResource, platform_resources
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.settings import load_settings

FUNCTION: Final = "the function alone"
BARE: Final = "bare Dagster, its own instance on SQLite"
OURS: Final = "our instance, resource and policy"
NOTHING: Final = "python -c pass"
STARTS: Final = {
    NOTHING: ("-c", "pass"),
    "python -c 'import dagster'": ("-c", "import dagster"),
    "secure-platform --help": ("-m", "secure_platform", "--help"),
    "secure-platform check": ("-m", "secure_platform", "check"),
}


def run(bench: Bench) -> list[Figure]:
    """Steps first, then starts."""
    steps, folder = bench.scale.steps, str(bench.folder)
    kinds = {FUNCTION: "function", BARE: "bare", OURS: "ours"}
    measured = {
        name: bench.measure(name, f"overhead:{kind}", repeats=bench.scale.repeats, folder=folder, steps=steps)
        for name, kind in kinds.items()
    }
    starts = {
        name: bench.measure(name, "starts:start", repeats=bench.scale.repeats, folder=folder, words=words)
        for name, words in STARTS.items()
    }
    return [
        *(Figure(f"a step: {name}", 1000 * each.wall / steps, "ms") for name, each in measured.items()),
        Figure("a step", measured[OURS].wall / measured[BARE].wall, "x wall", BARE),
        *(Figure(name, 1000 * each.wall, "ms") for name, each in starts.items()),
        *(Figure(name, each.wall / starts[NOTHING].wall, "x wall", NOTHING) for name, each in starts.items()),
    ]


def function(watch: Stopwatch, folder: str, steps: int) -> dict[str, Any]:
    """What a step of ours asks before it begins: who may build."""
    services, product = shop(Path(folder))
    requester = services.requester()
    with watch:
        for _ in range(steps):
            services.policy.require(requester, Action.BUILD, product_resource(services, product))
    return {}


def bare(watch: Stopwatch, folder: str, steps: int) -> dict[str, Any]:
    """A chain of empty assets."""
    home = Path(folder) / "bare"
    home.mkdir(exist_ok=True)

    def asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"empty{number}", deps=[f"empty{number - 1}"] if number else [])
        def empty(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(metadata={"run": context.run_id})

        return empty

    with dg.DagsterInstance.local_temp(str(home)) as instance:
        _execute(watch, instance, [asset(number) for number in range(steps)], {})
    return {}


def ours(watch: Stopwatch, folder: str, steps: int) -> dict[str, Any]:
    """The same chain, each step opened as our assets open theirs."""
    settings = load_settings(home=Path(folder) / "ours" / "home")
    os.environ["SECURE_PLATFORM_HOME"] = str(settings.home)
    prepare(settings)
    _, product = shop(Path(folder) / "ours")

    def asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"empty{number}", deps=[f"empty{number - 1}"] if number else [])
        def empty(
            context: dg.AssetExecutionContext, platform: PlatformResource
        ) -> dg.MaterializeResult[None]:
            step = value_free("empty", lambda: platform.step(context, product))
            return dg.MaterializeResult(metadata={"run": step.run_id})

        return empty

    with open_instance(settings) as instance:
        _execute(watch, instance, [asset(number) for number in range(steps)], platform_resources())
    return {}


def _execute(
    watch: Stopwatch, instance: dg.DagsterInstance, assets: list[Any], resources: dict[str, Any]
) -> None:
    name = build_job_name("empty")
    definitions = dg.Definitions(
        assets=assets,
        jobs=[dg.define_asset_job(name, selection="*")],
        resources=resources,
        executor=dg.in_process_executor,
    )
    job = definitions.resolve_job_def(name)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with watch:
        result = job.execute_in_process(instance=instance, run_config=quiet)
    assert result.success
