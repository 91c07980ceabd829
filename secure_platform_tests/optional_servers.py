"""Programs that some tests need and `make servers` installs; a pytest plugin named in pyproject.toml."""

import shutil
from pathlib import Path

import pytest
from required import missing

CHROMIUM = ("chromium", "google-chrome")
PROMETHEUS = Path(__file__).resolve().parents[1] / "infra/tests/prometheus/usr/bin"


def required(what: str, programs: tuple[str, ...]) -> Path:
    """The first of these programs that is installed."""
    found = next(filter(None, map(shutil.which, programs)), None)
    if found is None:
        missing(f"{what} is not installed: make servers")
    return Path(found)


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """The folder of `prometheus` and `promtool`."""
    if (PROMETHEUS / "prometheus").exists():
        return PROMETHEUS
    return required("Prometheus", ("prometheus",)).parent


@pytest.fixture(scope="session")
def chromium() -> Path:
    return required("Chromium", CHROMIUM)
