"""A rotation of a token key is carried to production from its raw snapshots, and never half."""

import shutil
from dataclasses import replace

import polars as pl
import pytest
from built_home import PRODUCT, Built

from secure_platform.control.database import utc_now
from secure_platform.errors import DataRefusedError, GateRefusedError
from secure_platform.gate.states import ReleaseState
from secure_platform.keys.making import make_version
from secure_platform.keys.ring import KeyRing
from secure_platform.orchestration.launch import run_build, run_deploy, run_retokenize
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.orchestration.steps.package import package
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.retokenize import VERDICT, carriers, released
from secure_platform.orchestration.steps.review import difference
from secure_platform.services import Services
from secure_platform.store.snapshots import Zone, require_verdicts

DOMAIN = "patient"


def rotate(keys: KeyRing, name: str) -> None:
    rows = keys._rows.of(name)
    new = make_version(keys._provider, name, len(rows) + 1, utc_now())
    old = replace(rows[-1], about=replace(rows[-1].about, state="decrypt-only"))
    keys._rows.write("key.rotate", [old, new], seen=rows, actor="admin", subject=name)


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
    rotate(services.keys, f"token/{DOMAIN}")
    assert [(each.version, each.current) for each in carriers(services, DOMAIN)] == [(1, 2)]
    shutil.rmtree(deployed.source)
    assert run_retokenize(services.settings, deployed.product, listener=lambda _: None).succeeded
    record = deployed.newest()
    assert (record.number, record.state) == (2, ReleaseState.PENDING)
    manifest = signed_package(services, record).manifest
    assert difference(services, record, manifest).plan == (
        f"Tokens of the domain {DOMAIN} are made with key version 2 instead of 1: "
        "they do not match those released before.",
    )
    shown = manifest["verdicts"]["protected/patients"][VERDICT]["detail"]["columns"]
    assert shown == {"Id": {"domain": DOMAIN, "from": 1, "to": 2, "distinct": before.n_unique()}}
    made_from = {(each["zone"], each["dataset"]): each["snapshot_id"] for each in manifest["lineage"]}
    assert {name: made_from["raw", name] for name in raw} == raw
    after = tokens(services, "patients", made_from["protected", "patients"], "Id")
    assert before.str.starts_with("t1_").all()
    assert after.str.starts_with("t2_").all()
    assert [each.outdated for each in carriers(services, DOMAIN)] == [True]


def test_what_was_never_deployed_is_not_made_anew(built: Built) -> None:
    with pytest.raises(GateRefusedError, match="no token is out"):
        released(built.services, built.product)
    assert list(carriers(built.services)) == []


def test_a_rotation_between_two_steps_of_a_run_ends_it_refused(built: Built) -> None:
    services = built.services
    context = StepContext(services, built.product, "run", "dana", built.source)
    rotate(services.keys, f"token/{DOMAIN}")
    alone = protect(context, "patients").snapshot
    with pytest.raises(DataRefusedError, match="protected under another plan"):
        package(context)
    behind = {"patients": alone.snapshot_id}
    mixed = replace(context, chosen=lambda zone, name: behind.get(name) if zone is Zone.PROTECTED else None)
    with pytest.raises(DataRefusedError, match="failed the stage references"):
        require_verdicts(protect(mixed, "encounters").snapshot, ("references",))
    assert len(services.gate.list(PRODUCT)) == 1


def test_a_run_after_the_rotation_has_one_version_everywhere(built: Built) -> None:
    services = built.services
    rotate(services.keys, f"token/{DOMAIN}")
    report = run_build(services.settings, built.product, source=built.source, listener=lambda _: None)
    assert report.succeeded
    plan = signed_package(services, built.newest()).contents.plan.document
    columns = [column for dataset in plan["datasets"].values() for column in dataset]
    assert {each["token_version"] for each in columns if each["token_domain"] == DOMAIN} == {2}
    assert {each["token_version"] for each in columns if each["token_domain"] != DOMAIN} == {None, 1}
