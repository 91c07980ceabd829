"""A rotation of a token key is carried to production from its raw snapshots, and never half."""

import shutil

import polars as pl
import pytest
from built_home import PRODUCT, Built

from secure_platform.errors import DataRefusedError, GateRefusedError
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.launch import run_build, run_deploy, run_retokenize
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.orchestration.steps.package import package
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.retokenize import VERDICT, carriers, released
from secure_platform.orchestration.steps.review import difference
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone, require_verdicts

DOMAIN = "patient"


@pytest.fixture
def deployed(built: Built) -> Built:
    built.approve()
    services = built.services
    assert run_deploy(services.settings, built.product, listener=lambda _: None).succeeded
    return built


def ids(services: Services, zone: Zone) -> dict[str, str]:
    """Dataset → the snapshot that production comes from."""
    lineage = released(services, services.product(PRODUCT)).contents.lineage
    return {each.dataset: each.snapshot_id for each in lineage if each.zone == str(zone)}


def tokens(services: Services, dataset: str, snapshot_id: str, column: str) -> pl.Series:
    snapshot = services.store.load(PRODUCT, dataset, Zone.PROTECTED, snapshot_id)
    return services.store.scan(snapshot).select(column).collect()[column]


@pytest.mark.slow
def test_after_a_rotation_production_is_made_anew_from_its_raw_snapshots(deployed: Built) -> None:
    services = deployed.services
    raw, protected = ids(services, Zone.RAW), ids(services, Zone.PROTECTED)
    before = tokens(services, "patients", protected["patients"], "Id")
    services.keys.lifecycle.rotate(f"token/{DOMAIN}", actor="admin")
    assert [(each.version, each.current) for each in carriers(services, DOMAIN)] == [(1, 2)]
    shutil.rmtree(deployed.source)
    assert run_retokenize(services.settings, deployed.product, listener=lambda _: None).succeeded
    record = deployed.newest()
    assert (record.number, record.state) == (2, ReleaseState.PENDING)
    manifest = signed_package(services, record).manifest
    (said,) = difference(services, record, manifest).plan
    assert f"Tokens of the domain {DOMAIN} are made with key version 2 instead of 1" in said
    shown = manifest["verdicts"]["protected/patients"][VERDICT]["detail"]["columns"]
    assert shown == {"Id": {"domain": DOMAIN, "from": 1, "to": 2, "distinct": before.n_unique()}}
    made_from = {(each["zone"], each["dataset"]): each["snapshot_id"] for each in manifest["lineage"]}
    assert {name: made_from["raw", name] for name in raw} == raw
    after = tokens(services, "patients", made_from["protected", "patients"], "Id")
    assert before.str.starts_with("t1_").all()
    assert after.str.starts_with("t2_").all()
    assert [each.outdated for each in carriers(services, DOMAIN)] == [True]


def test_what_was_never_deployed_is_not_made_anew(built: Built) -> None:
    with pytest.raises(GateRefusedError, match="none of its tokens is in use"):
        released(built.services, built.product)
    assert list(carriers(built.services)) == []


def test_a_rotation_between_two_steps_of_a_run_ends_it_refused(built: Built) -> None:
    services = built.services
    before = services.store.head(PRODUCT, "patients", Zone.PROTECTED)
    assert before is not None
    services.keys.lifecycle.rotate(f"token/{DOMAIN}", actor="admin")
    made_before = {(Zone.PROTECTED, "patients"): before.snapshot_id}
    context = StepContext(
        services,
        built.product,
        "run",
        "dana",
        built.source,
        chosen=lambda zone, name: made_before.get((zone, name)),
    )
    mixed = protect(context, "encounters").snapshot
    with pytest.raises(DataRefusedError, match="failed the stage references"):
        require_verdicts(mixed, ("references",))
    with pytest.raises(DataRefusedError, match="protected under another plan"):
        package(context)
    assert len(services.gate.list(PRODUCT)) == 1


def test_a_run_after_the_rotation_has_one_version_everywhere(built: Built) -> None:
    services = built.services
    services.keys.lifecycle.rotate(f"token/{DOMAIN}", actor="admin")
    report = run_build(services.settings, built.product, source=built.source, listener=lambda _: None)
    assert report.succeeded
    plan = signed_package(services, built.newest()).contents.plan.document
    columns = [column for dataset in plan["datasets"].values() for column in dataset]
    assert {each["token_version"] for each in columns if each["token_domain"] == DOMAIN} == {2}
    assert {each["token_version"] for each in columns if each["token_domain"] != DOMAIN} == {None, 1}
