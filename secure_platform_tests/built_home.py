"""A fresh home, and one after a real build: made once, then only copied; a plugin named in pyproject.toml."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_once import made_once

from secure_platform import canonical
from secure_platform.access.principals import Principal
from secure_platform.contract.product import Product
from secure_platform.gate.records import ReleaseRecord
from secure_platform.sample.generate import generate
from secure_platform.services import Services
from secure_platform.settings import load_settings

PRODUCT = "healthcare"
PEOPLE = {
    "dana": ("data_engineer",),
    "sam": ("data_steward",),
    "tess": ("data_steward",),
}


@dataclass(frozen=True)
class Built:
    """A home with a healthcare release, requested by dana, and the source it was built from."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def services(self) -> Services:
        """Every room, opened afresh."""
        return Services(load_settings(home=self.home))

    @property
    def product(self) -> Product:
        return self.services.product(PRODUCT)

    def token(self, name: str) -> Path:
        return self.home / "keys" / f"{name}.token"

    def person(self, name: str) -> Principal:
        found = self.services.principals.get(name)
        assert found is not None
        return found

    def newest(self) -> ReleaseRecord:
        return self.services.gate.list(PRODUCT)[-1]

    def approve(self, name: str = "sam") -> ReleaseRecord:
        services = self.services
        base = services.target.base(PRODUCT)
        return services.gate.approve(self.newest().digest, self.person(name), reason="reviewed", base=base)

    def copy(self, to: Path) -> "Built":
        """A copy of its own, free to be damaged."""
        return Built(Path(shutil.copytree(self.root, to)))


@pytest.fixture(scope="session")
def parsed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh home with what dbt parsed of our project: copy it before anything else."""
    return made_once(tmp_path_factory, "parsed", _parse) / "home"


def _parse(root: Path) -> None:
    # Every test run loads this plugin: Dagster is imported when a test needs it.
    from secure_platform.orchestration.dbt import load_manifest  # noqa: PLC0415
    from secure_platform.orchestration.home import prepare  # noqa: PLC0415

    settings = load_settings(home=root / "home")
    prepare(settings)
    load_manifest(settings)


@pytest.fixture(scope="session")
def built_once(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The original: copy it before anything else."""
    return Built(made_once(tmp_path_factory, "built", lambda root: _build(root, parsed_home)))


def _build(root: Path, fresh: Path) -> None:
    from secure_platform.orchestration.launch import run_build  # noqa: PLC0415 - as above

    built = Built(root)
    shutil.copytree(fresh, built.home)
    generate(built.source, patients=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(built.home))
        for name, roles in PEOPLE.items():
            built.services.principals.add(name, roles=roles, actor="admin")
            built.token(name).write_text(built.services.tokens.issue(name, actor="admin").secret)
            built.token(name).chmod(0o600)
        patch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(built.token("dana")))
        settings = load_settings()
        assert run_build(settings, built.product, source=built.source, listener=lambda _: None).succeeded


@pytest.fixture
def built(built_once: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """A copy whose release waits at the gate."""
    copy = built_once.copy(tmp_path / "built")
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(copy.home))
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    return copy


def built_release(built: Built, name: str) -> ReleaseRecord:
    """Package the same marts once more, as if something else had been built."""
    from secure_platform.orchestration.steps.context import StepContext  # noqa: PLC0415
    from secure_platform.orchestration.steps.package import package  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patch:
        module = "secure_platform.orchestration.steps.package"
        patch.setattr(f"{module}.input_key", lambda **_: canonical.sha256(name.encode()))
        return package(StepContext(built.services, built.product, name, "dana", built.source)).record
