"""A product whose plan is refused is shown as broken by its name, does nothing, and stops no other."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
from refused_product import REFUSED, with_refused_product

from secure_platform.contract.load import load_document
from secure_platform.errors import ContractError, PlanRefusedError
from secure_platform.orchestration import launch
from secure_platform.orchestration.broken import BROKEN_TAG
from secure_platform.orchestration.component import DataProduct
from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.steps.named import refusals
from secure_platform.orchestration.steps.production import go_live
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.services import Services
from secure_platform.settings import load_settings

REFUSAL = f"The plan of {REFUSED} is refused: patients.BIRTHDATE: tokenize is weaker than"


@pytest.fixture
def defs(tmp_path: Path) -> Path:
    return with_refused_product(tmp_path / "defs")


@pytest.fixture
def services(parsed_home: Path, tmp_path: Path, defs: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    home = Path(shutil.copytree(parsed_home, tmp_path / "home"))
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(home))
    monkeypatch.setenv("SECURE_PLATFORM_DEFS", str(defs))
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    return Services(load_settings())


def loaded(folder: Path) -> dg.Definitions:
    """What the component makes of a product's folder when the code location is loaded."""
    attributes: dict[str, Any] = dict(load_document(folder / "defs.yaml")["attributes"])
    context = cast("dg.ComponentLoadContext", SimpleNamespace(path=folder))
    return DataProduct(**attributes).build_defs(context)


def test_the_others_load_and_it_is_one_asset_that_does_nothing(services: Services, defs: Path) -> None:
    location = govern(
        dg.Definitions.merge(
            loaded(defs / REFUSED),
            loaded(defs / "healthcare"),
            dg.Definitions(resources=platform_resources(), executor=dg.in_process_executor),
        )
    )
    repository = location.get_repository_def()
    assert repository.has_job("healthcare_build")
    assert not [name for name in repository.job_names if name.startswith(REFUSED)]
    assert not [each.name for each in repository.sensor_defs if each.name.startswith(REFUSED)]
    graph = repository.asset_graph
    (key,) = (each for each in graph.get_all_asset_keys() if each.path[0] == REFUSED)
    node = graph.get(key)
    assert (key.path, node.is_executable, node.is_materializable) == ([REFUSED, "release"], False, False)
    assert BROKEN_TAG in node.tags
    assert (node.description or "").startswith(REFUSAL)
    assert "Nothing of it is built or deployed" in (node.description or "")
    assert services.products.keys() == {"healthcare", REFUSED}


def test_nothing_of_it_is_built_made_anew_or_deployed(services: Services, tmp_path: Path) -> None:
    broken, settings = services.product(REFUSED), services.settings
    for run in (
        lambda: launch.run_build(settings, broken, source=tmp_path, listener=print),
        lambda: launch.run_retokenize(settings, broken, listener=print),
        lambda: launch.run_deploy(settings, broken, listener=print),
        lambda: go_live(services, broken),
    ):
        with pytest.raises(PlanRefusedError, match=REFUSAL):
            run()


def test_only_its_own_plan_is_refused(services: Services) -> None:
    (refused,) = refusals(services).items()
    assert (refused[0], str(refused[1]).startswith(REFUSAL)) == (REFUSED, True)
    assert current_plan(services.product("healthcare"), services.keys).product == "healthcare"


@pytest.mark.usefixtures("services")
def test_an_unknown_profile_is_a_refused_plan_too(defs: Path) -> None:
    path = defs / REFUSED / "defs.yaml"
    path.write_text(path.read_text().replace("hipaa_safe_harbor", "hipaa_imaginary"))
    said = str(refusals(Services(load_settings()))[REFUSED])
    assert said.startswith(f"The plan of {REFUSED} is refused: The protection profile is unknown")
    assert loaded(defs / REFUSED).resolve_all_asset_specs()[0].key.path == [REFUSED, "release"]


def test_a_contract_that_cannot_be_read_is_refused_as_everywhere(defs: Path) -> None:
    contract = defs / REFUSED / "contracts" / "patients.odcs.yaml"
    contract.write_text(contract.read_text().replace("classification:", "clasification:", 1))
    with pytest.raises(ContractError, match=r"broken/contracts/patients\.odcs\.yaml"):
        loaded(defs / REFUSED)
