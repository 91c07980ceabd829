"""A home, a generated source, and the steps of the way of the data over both."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from secure_platform.access.principals import Principal
from secure_platform.homes import initialise
from secure_platform.orchestration.steps.context import StepContext, StepOutcome
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.sample.generate import generate
from secure_platform.services import Services
from secure_platform.settings import load_settings

PRODUCT = "healthcare"
Rows = list[list[str]]


@dataclass(frozen=True)
class Line:
    """The first steps of the way, on one home and one source."""

    services: Services
    source: Path

    def context(self, run_id: str = "run") -> StepContext:
        product = self.services.product(PRODUCT)
        return StepContext(self.services, product, run_id, "service:scheduler", self.source)

    def pull(self, dataset: str) -> StepOutcome:
        return pull(self.context(), dataset)

    def protect(self, dataset: str) -> StepOutcome:
        return protect(self.context(), dataset)

    def edit(self, dataset: str, change: Callable[[Rows], Rows]) -> None:
        """Rewrite one source file, header included."""
        path = self.source / f"{dataset}.csv"
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(change(rows))


def new_line(directory: Path, *, patients: int = 40) -> Line:
    settings = load_settings(home=directory / "home")
    initialise(settings)
    generate(directory / "source", patients=patients)
    return Line(Services(settings), directory / "source")


def add_person(services: Services, name: str, *roles: str) -> Principal:
    return services.principals.add(name, roles=roles, actor="admin")


def token_file(services: Services, name: str) -> Path:
    path = services.settings.home / "keys" / f"{name}.token"
    path.write_text(services.tokens.issue(name, actor="admin").secret)
    path.chmod(0o600)
    return path
