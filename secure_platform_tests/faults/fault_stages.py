"""A small product of two datasets and one mart, and its way from an empty home to a release after a rollback.

Every stage can be run again after it was interrupted, as a person or the daemon would. dbt runs once: in
the many repetitions its part, the SQL that it compiled, is done over the same build database by a stand-in.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from secure_platform.contract.product import Product, load_products
from secure_platform.errors import AlreadyRolledBackError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.homes import initialise
from secure_platform.orchestration import dbt
from secure_platform.orchestration.dbt import MANIFEST, PARTIAL_PARSE, DbtRun
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.steps import marts
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import deploy, rollback
from secure_platform.orchestration.steps.emergency import emergency
from secure_platform.orchestration.steps.marts import Mart, build_marts
from secure_platform.orchestration.steps.package import package
from secure_platform.orchestration.steps.protect import current_plan, protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.sample.generate import generate
from secure_platform.services import ADMINISTRATOR, Services
from secure_platform.settings import CONFIG_NAME, PACKAGE, load_settings
from secure_platform.store import duckdb

PRODUCT = "healthcare"
DATASETS = ("patients", "encounters")
MODEL = "encounter_costs"
STEWARD = "sam"
PATIENTS = 12
DEFINITION = f"""\
type: secure_platform.orchestration.component.DataProduct
attributes:
  name: {PRODUCT}
  owner: team:clinical-data
  description: Costs of encounters by patient.
  profile: hipaa_safe_harbor
  models: [{MODEL}]
"""
SQL = """\
select patients."Id" as patient_id, patients."GENDER" as gender, count(*) as encounters
from {{ source('healthcare', 'patients') }} as patients
join {{ source('healthcare', 'encounters') }} as encounters on encounters."PATIENT" = patients."Id"
group by all
"""
SOURCES = """\
version: 2
sources:
  - {name: healthcare, database: build, schema: protected, tables: [{name: patients}, {name: encounters}]}
"""
SCHEMA = f"""\
version: 2
models:
  - name: {MODEL}
    columns:
      - {{name: patient_id, data_type: varchar}}
      - {{name: gender, data_type: varchar}}
      - {{name: encounters, data_type: bigint}}
"""
MART = Mart(MODEL, f"model.secure_platform.{MODEL}", (), DATASETS, "confidential")
# Of what dbt writes, what the product keeps.
WRITTEN = (MANIFEST, PARTIAL_PARSE)


@dataclass(frozen=True)
class Place:
    """Where a case works: its own home, and the project and sources that all cases share.

    Attributes:
        shared: Holds `project`, `sources/<number>` and `dbt`, what dbt did when it ran.
    """

    shared: Path
    home: Path


@dataclass(frozen=True)
class Line:
    """The stages over one opened home."""

    services: Services
    shared: Path

    @property
    def product(self) -> Product:
        return self.services.product(PRODUCT)

    def context(self, source: int) -> StepContext:
        folder = self.shared / "sources" / str(source)
        return StepContext(self.services, self.product, f"run-{source}", "service:scheduler", folder)

    def releases(self) -> list[ReleaseRecord]:
        return self.services.gate.list(PRODUCT)

    def build(self, source: int, *stages: str) -> None:
        context = self.context(source)
        steps: Mapping[str, Callable[[], object]] = {
            "pull": lambda: [pull(context, name) for name in DATASETS],
            "protect": lambda: [protect(context, name) for name in DATASETS],
            "marts": lambda: build_marts(context, {MODEL: MART}),
            "package": lambda: package(context),
        }
        for stage in stages or tuple(steps):
            steps[stage]()

    def renew(self, source: int) -> None:
        """The next release, up to its approval."""
        self.build(source)
        self.approve()

    def come_back(self) -> None:
        """The release after a rollback, up to production."""
        self.renew(3)
        self.deploy()

    def approve(self) -> None:
        """Approve the newest release; one that was approved before the interruption is left as it is."""
        newest = self.releases()[-1]
        if newest.state is ReleaseState.PENDING:
            steward = self.services.principals.get(STEWARD)
            if steward is None:
                raise AssertionError
            base = self.services.target.base(PRODUCT)
            self.services.gate.approve(newest.digest, steward, reason="reviewed", base=base)

    def leak(self) -> None:
        """The first signing key leaked; said again, the answer is finished."""
        administrator = self.services.principals.get(ADMINISTRATOR)
        if administrator is None:
            raise AssertionError
        emergency(self.services, administrator, "sign", 1)

    def deploy(self) -> None:
        deploy(self.services, self.product)

    def go_back(self) -> None:
        """Leave release 2; said again after it was interrupted, it goes back once."""
        steward = self.services.principals.get(STEWARD)
        if steward is None:
            raise AssertionError
        with suppress(AlreadyRolledBackError):
            rollback(self.services, self.releases()[1], steward, reason="wrong costs")

    def damage(self) -> None:
        """Production's database is lost."""
        production = self.services.target.history(PRODUCT)[0]
        production.file.unlink(missing_ok=True)


def new_home(place: Place) -> None:
    services = open_line(place, initialised=False).services
    initialise(services.settings)
    if services.principals.get(STEWARD) is None:
        services.principals.add(STEWARD, roles=["data_steward"], actor="admin")
    # Made when they are first needed, the keys of token domains would be others in each repetition.
    for domain in current_plan(open_line(place).product, services.keys).token_versions:
        services.keys.token_key(domain)


STAGES: Mapping[str, Callable[[Place], None]] = {
    "init": new_home,
    "pull": lambda place: open_line(place).build(1, "pull"),
    "protect": lambda place: open_line(place).build(1, "protect"),
    "marts": lambda place: open_line(place).build(1, "marts"),
    "package": lambda place: open_line(place).build(1, "package"),
    "approve": lambda place: open_line(place).approve(),
    "deploy": lambda place: open_line(place).deploy(),
    "renew": lambda place: open_line(place).renew(2),
    "leak": lambda place: open_line(place).leak(),
    "replace": lambda place: open_line(place).deploy(),
    "rollback": lambda place: open_line(place).go_back(),
    "restore": lambda place: open_line(place).deploy(),
    "return": lambda place: open_line(place).come_back(),
}
BEFORE: Mapping[str, Callable[[Line], None]] = {"restore": Line.damage}
"""What happens to a home before a stage, by other hands."""


@cache
def read_products(defs: Path) -> dict[str, Product]:
    """The documents of the project, which no case changes."""
    return dict(load_products(defs))


def open_line(place: Place, *, initialised: bool = True) -> Line:
    """The home as a new process would open it."""
    settings = load_settings(project=place.shared / "project", home=place.home)
    line = Line(Services(settings), place.shared)
    vars(line.services)["products"] = read_products(settings.defs)
    if initialised:
        line.services.store.sweep()
    return line


def run_stage(place: Place, stage: str) -> None:
    """Run one stage as Dagster's steps do: only the platform's own errors come out."""
    value_free(f"{PRODUCT}/{stage}", lambda: STAGES[stage](place))


def write_shared(shared: Path) -> None:
    """The project and three sources, the second and third with other patients."""
    project = shared / "project"
    defs = project / "defs" / PRODUCT
    (defs / "contracts").mkdir(parents=True)
    (project / CONFIG_NAME).write_text("{}\n")  # A command that is started in this folder finds its project.
    (defs / "defs.yaml").write_text(DEFINITION)
    for name in DATASETS:
        shutil.copy(PACKAGE / "defs" / PRODUCT / "contracts" / f"{name}.odcs.yaml", defs / "contracts")
    models = project / "dbt" / "models" / PRODUCT
    models.mkdir(parents=True)
    for name, text in ((f"{MODEL}.sql", SQL), ("sources.yml", SOURCES), ("schema.yml", SCHEMA)):
        (models / name).write_text(text)
    ours = PACKAGE.parent / "dbt"
    shutil.copytree(ours / "macros", project / "dbt" / "macros")
    shutil.copy(ours / "dbt_project.yml", project / "dbt")
    for number in (1, 2, 3):
        generate(shared / "sources" / str(number), patients=PATIENTS + number, seed=number)
    (shared / "dbt").mkdir()


def record_dbt(shared: Path) -> None:
    """From here on in this process dbt's results are kept."""
    real = dbt.run_dbt

    def run(
        project: Path, arguments: Sequence[str], *, target: Path, environment: Mapping[str, str]
    ) -> DbtRun:
        done = real(project, arguments, target=target, environment=environment)
        for name in WRITTEN:
            shutil.copy(target / name, shared / "dbt")
        if arguments[0] == "build":
            record = {"results": dict(done.results), "compiled": dict(done.compiled)}
            (shared / "dbt" / "run.json").write_text(json.dumps(record))
        return done

    _use(run)


def replay_dbt(shared: Path) -> None:
    """From here on in this process the stand-in does dbt's part, in the same database."""
    record: dict[str, Any] = json.loads((shared / "dbt" / "run.json").read_text())

    def run(
        project: Path, arguments: Sequence[str], *, target: Path, environment: Mapping[str, str]
    ) -> DbtRun:
        del project
        for name in WRITTEN:
            shutil.copy(shared / "dbt" / name, target)
        if arguments[0] == "build":
            _build(record["compiled"], environment)
        return DbtRun(succeeded=True, results=record["results"], compiled=record["compiled"])

    _use(run)


def _build(compiled: Mapping[str, str], environment: Mapping[str, str]) -> None:
    database = duckdb.connect(
        Path(environment["SECURE_PLATFORM_BUILD_FILE"]),
        bytes.fromhex(environment["DBT_ENV_SECRET_BUILD_KEY"]),
        read_only=False,
        temp_directory=Path(environment["SECURE_PLATFORM_BUILD_DIRECTORY"]) / "spill",
    )
    with duckdb.value_free("do dbt's part"):
        database.execute(f"CREATE SCHEMA {PRODUCT}")
        for name in (name for name in compiled if name.startswith("model.")):
            sql = compiled[name].replace('"build".', f'"{duckdb.CATALOG}".')
            database.execute(f"CREATE TABLE {PRODUCT}.{name.rpartition('.')[2]} AS {sql}")
    database.close()


def _use(run: Callable[..., DbtRun]) -> None:
    for module in (dbt, marts):
        vars(module)["run_dbt"] = run
