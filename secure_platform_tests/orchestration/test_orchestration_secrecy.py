"""Dagster keeps configuration, snapshots of jobs and events of every run: no key of the home is in them."""

import base64
import json
from collections.abc import Iterator

import dagster as dg
from built_home import Built
from dagster._serdes import serialize_value

from secure_platform.orchestration.home import open_instance
from secure_platform.services import Services


def materials(services: Services) -> Iterator[bytes]:
    """Every key of the home, and what proves who somebody is."""
    yield (services.settings.home / "keys" / "root.key").read_bytes()
    for name in {version.name for version in services.keys.versions()}:
        for row in services.keys._rows.of(name):
            if row.wrapped is not None:
                opened = services.keys._opened._open(row)
                yield opened.material
                yield from opened.derived.values()
    for file in (services.settings.home / "keys").glob("*.token"):
        yield file.read_bytes().strip().split(b"_", 2)[2]


def spellings(secret: bytes) -> Iterator[str]:
    yield secret.hex()
    yield base64.b64encode(secret).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret).decode().rstrip("=")
    yield repr(secret)[2:-1]
    yield json.dumps(secret.decode("latin-1"))[1:-1]
    if secret.isascii():
        yield secret.decode()


def kept(instance: dg.DagsterInstance) -> Iterator[str]:
    """All that Dagster shows of all runs."""
    for run in instance.get_runs():
        yield serialize_value(run)
        assert run.job_snapshot_id is not None
        assert run.execution_plan_snapshot_id is not None
        yield serialize_value(instance.get_job_snapshot(run.job_snapshot_id))
        yield serialize_value(instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id))
        for entry in instance.all_logs(run.run_id):
            yield serialize_value(entry)


def test_nothing_that_dagster_keeps_of_a_run_holds_a_key(built: Built) -> None:
    services = built.services
    services.audit.verify()
    secrets = list(materials(services))
    assert len(secrets) > 10
    needles = {spelling for secret in secrets for spelling in spellings(secret)}
    with open_instance(services.settings) as instance:
        texts = list(kept(instance))
    assert len(texts) > 100
    assert [text[:80] for text in texts if any(needle in text for needle in needles)] == []
    assert any(any(needle in text for needle in needles) for text in [*texts, json.dumps(secrets[0].hex())])
