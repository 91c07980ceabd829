"""`demo`: the main job on generated data in a home of its own — the same job that the schedule runs.

Two people are created with random tokens, because the one who requests a release cannot approve it.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.principals import Principal
from secure_platform.access.tokens import read_token
from secure_platform.cli.access import command, near, open_services
from secure_platform.cli.build import render_failures, run_data
from secure_platform.cli.output import Output, brief, example, heading, json_option, line, records, show
from secure_platform.cli.progress import Progress, reused
from secure_platform.cli.review import render_review
from secure_platform.contract.product import Product
from secure_platform.errors import AccessDeniedError, GateRefusedError
from secure_platform.files import private_directory, replace_private
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.launch import run_build, run_deploy
from secure_platform.orchestration.steps.decide import approve
from secure_platform.orchestration.steps.exchange import RunReport, record_data
from secure_platform.orchestration.steps.query import read_production
from secure_platform.orchestration.steps.review import difference, verified_manifest
from secure_platform.sample.generate import generate
from secure_platform.services import ADMINISTRATOR, Services
from secure_platform.settings import PREFIX, load_settings

PRODUCT: Final = "healthcare"
REQUESTER: Final = "dana"
APPROVER: Final = "sam"
PEOPLE: Final = {REQUESTER: ("data_engineer", "data_steward"), APPROVER: ("data_steward",)}
QUESTION: Final = "SELECT * FROM condition_prevalence ORDER BY patient_count DESC, condition_code"
ROWS: Final = 3
PURPOSE: Final = "care_quality"
ANOTHER: Final = "select * from patient_summary limit 3"
OPEN: Final = frozenset({ReleaseState.PENDING, ReleaseState.APPROVED})


@click.command(epilog=example("demo", "--home /tmp/demo demo"))
@json_option
def demo(*, as_json: bool) -> int:
    """Run the main job on generated data: build, review, approve, deploy, verify, read.

    It uses a home of its own, .secure_platform-demo in the project, unless --home names another one.
    """
    started = time.monotonic()
    out = Console(quiet=True) if as_json else Output()
    _use_own_home()
    services = open_services()
    product = services.product(PRODUCT)
    heading(out, f"Home {near(services.settings.home)}")
    _prepare(services, out)
    os.environ[f"{PREFIX}TOKEN_FILE"] = str(_token_file(services, REQUESTER))
    heading(out, f"1  Build {PRODUCT}, requested by {REQUESTER}")
    built = run_build(services.settings, product, source=None, listener=Progress(out))
    if not built.succeeded:
        return _refused(built, out, as_json=as_json)
    record = services.gate.get(str(built.release))
    changed = record.state in OPEN
    if changed:
        deployed = _carry_through(services, product, record, out)
        if not deployed.succeeded:
            return _refused(deployed, out, as_json=as_json)
    else:
        heading(
            out, f"Nothing changed: release {record.number} is {record.state}, production stays as it is."
        )
    rows = _ask(services, out)
    _what_next(services, out, seconds=time.monotonic() - started)
    release = record_data(services.gate.get(record.digest))
    data = {"changed": changed, "release": release, "reused": reused(built), "rows": rows}
    show(data, as_json=as_json, render=lambda _out: None)
    return 0


def _use_own_home() -> None:
    """Unless a home is named, the demo has its own, so that it never mixes with real work."""
    if f"{PREFIX}HOME" not in os.environ:
        os.environ[f"{PREFIX}HOME"] = str(load_settings().project / ".secure_platform-demo")
    os.environ.pop(f"{PREFIX}TOKEN_FILE", None)


def _prepare(services: Services, out: Console) -> None:
    source = services.settings.source_directory(PRODUCT)
    if not source.exists():
        _generate(services, source)
        line(out, f"Generated made-up patients in the layout of Synthea: {near(source)}")
    for name, roles in PEOPLE.items():
        if services.principals.get(name) is None:
            services.principals.add(name, roles=roles, actor=ADMINISTRATOR)
            line(out, f"Created {name}: {', '.join(roles)}")
        file = _token_file(services, name)
        if not file.exists():
            issued = services.tokens.issue(name, actor=ADMINISTRATOR, days=365)
            replace_private(file, issued.secret.encode() + b"\n")
            line(out, f"Wrote a random token of {name}: {near(file)}")


def _generate(services: Services, source: Path) -> None:
    """All files or none: an interrupted demo starts again."""
    draft = services.temporary / "demo-sample"
    shutil.rmtree(draft, ignore_errors=True)
    generate(private_directory(draft))
    private_directory(source.parent)
    draft.rename(source)


def _carry_through(services: Services, product: Product, record: ReleaseRecord, out: Console) -> RunReport:
    """From a pending release to production."""
    manifest = verified_manifest(services, record)
    heading(out, "2  The gate: what a steward looks at")
    render_review(out, record, manifest, difference(services, record, manifest))
    if record.state is ReleaseState.PENDING:
        heading(out, "3  Approval")
        _approve(services, record, out)
    heading(out, "4  Deploy")
    deployed = run_deploy(services.settings, product, listener=Progress(out))
    if deployed.succeeded:
        services.target.verify(PRODUCT, manifest)
        size = services.audit.verify().size
        line(out, "Verified: production holds exactly what was approved, row by row.")
        line(out, f"Verified: the audit log is whole, {size} entries.")
    return deployed


def _approve(services: Services, record: ReleaseRecord, out: Console) -> None:
    base = services.target.base(record.product)
    try:
        approve(services, record.digest, _principal(services, REQUESTER), reason="my own", base=base)
    except AccessDeniedError as refusal:
        line(out, f"{REQUESTER} tries to approve their own release and is refused:")
        line(out, f"  {brief(refusal.culprit)}.")
    else:
        raise GateRefusedError(
            "A requester approved their own release", "Check the policies; this must be refused."
        )
    reason = "reviewed rows, plan and checks"
    approved = approve(services, record.digest, _principal(services, APPROVER), reason=reason, base=base)
    line(
        out, brief(f"{APPROVER} approves: release {approved.number}, {approved.digest}, is {approved.state}.")
    )


def _ask(services: Services, out: Console) -> list[dict[str, Any]]:
    """Three rows of production, as a principal who may read them."""
    reader = _principal(services, APPROVER)
    frame = read_production(services, PRODUCT, QUESTION, caller=reader, purpose=PURPOSE, limit=ROWS)
    heading(out, "What is in production now")
    line(out, f"{QUESTION} LIMIT {ROWS}")
    records(out, frame.columns, frame.rows())
    return frame.to_dicts()


def _what_next(services: Services, out: Console, *, seconds: float) -> None:
    home, token = services.settings.home, near(_token_file(services, APPROVER))
    production = services.target.current(PRODUCT)
    heading(out, f"Done in {seconds:.0f} s")
    line(out, f"Production database (encrypted): {production.file if production else ''}")
    line(out, "Try next:")
    for words in (
        f"plan {PRODUCT}",
        f"release show {PRODUCT}",
        f'--token-file {token} sql {PRODUCT} "{ANOTHER}" --purpose {PURPOSE}',
        f"--token-file {token} audit tail",
        "serve",
        "demo    (again: everything is reused)",
    ):
        line(out, f"  {command(words, home=home)}")


def _refused(report: RunReport, out: Console, *, as_json: bool) -> int:
    render_failures(out, report)
    show(run_data(report, None), as_json=as_json, render=lambda _out: None)
    return report.exit_code


def _principal(services: Services, name: str) -> Principal:
    return services.tokens.authenticate(read_token(_token_file(services, name)))


def _token_file(services: Services, name: str) -> Path:
    return services.settings.home / "keys" / f"{name}.token"


COMMANDS: Final = {"demo": demo}
