"""A home after one build of the main job, made once and only copied; a plugin named in pyproject.toml."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from made_once import made_once

from secure_platform.access.principals import Principal
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.exchange import AssetEvent, RunReport
from secure_platform.sample.generate import generate
from secure_platform.services import Services
from secure_platform.settings import load_settings

PRODUCT = "healthcare"
PATIENTS = 60
ROOMS = ("lake", "releases", "warehouse")
PEOPLE = {"dana": ("data_engineer", "data_steward"), "sam": ("data_steward",)}


@dataclass(frozen=True)
class Job:
    """One home after a build."""

    services: Services
    source: Path
    report: RunReport

    def build(self) -> RunReport:
        from secure_platform.orchestration.launch import run_build  # noqa: PLC0415 - as in built_home.py

        return run_build(
            self.services.settings,
            self.services.product(PRODUCT),
            source=self.source,
            listener=lambda _: None,
        )

    def deploy(self) -> RunReport:
        from secure_platform.orchestration.launch import run_deploy  # noqa: PLC0415 - as in built_home.py

        return run_deploy(self.services.settings, self.services.product(PRODUCT), listener=lambda _: None)

    def newest(self) -> ReleaseRecord:
        return self.services.gate.list(PRODUCT)[-1]

    def person(self, name: str) -> Principal:
        principal = self.services.principals.get(name)
        assert principal is not None
        return principal

    def approve(self) -> ReleaseRecord:
        return self.services.gate.approve(
            self.newest().digest,
            self.person("sam"),
            reason="reviewed",
            base=self.services.target.base(PRODUCT),
        )

    def files(self) -> set[Path]:
        home = self.services.settings.home
        return {path.relative_to(home) for room in ROOMS for path in (home / room).rglob("*")}


def opened(root: Path, report: RunReport, patch: pytest.MonkeyPatch) -> Job:
    """The home below the folder, for its data engineer."""
    patch.setenv("SECURE_PLATFORM_HOME", str(root / "home"))
    patch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(root / "home" / "keys" / "dana.token"))
    return Job(Services(load_settings()), root / "source", report)


@pytest.fixture(scope="session")
def built_job(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original: home, source, and what the run reported."""
    return made_once(tmp_path_factory, "job", lambda root: _build(root, parsed_home))


def _build(root: Path, fresh: Path) -> None:
    shutil.copytree(fresh, root / "home")
    generate(root / "source", patients=PATIENTS)
    with pytest.MonkeyPatch.context() as patch:
        job = opened(root, RunReport("", succeeded=False, events=()), patch)
        for name, roles in PEOPLE.items():
            job.services.principals.add(name, roles=roles, actor="admin")
            token = root / "home" / "keys" / f"{name}.token"
            token.write_text(job.services.tokens.issue(name, actor="admin").secret)
            token.chmod(0o600)
        (root / "report.json").write_text(json.dumps(asdict(job.build()), default=str))


@pytest.fixture
def job(built_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    for name in ("home", "source"):
        shutil.copytree(built_job / name, tmp_path / name)
    said = json.loads((built_job / "report.json").read_text())
    events = tuple(AssetEvent(**event) for event in said.pop("events"))
    return opened(tmp_path, RunReport(**said, events=events), monkeypatch)
