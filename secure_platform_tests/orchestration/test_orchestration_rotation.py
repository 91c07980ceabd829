"""What is due is rotated by the schedule: keys and secrets, each by itself, with a record and a notice."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from key_servers import POLICY, Tenant, VaultServer

from secure_platform.control.database import utc_now
from secure_platform.keys.secrets.local import LocalSecrets
from secure_platform.orchestration.home import open_instance, prepare
from secure_platform.orchestration.rotation import rotation
from secure_platform.orchestration.stamp import stamp
from secure_platform.release.trust import TRUST_ROOT, read_trust_root
from secure_platform.services import SCHEDULER, Services
from secure_platform.settings import load_settings

pytestmark = pytest.mark.slow

DAYS = timedelta(days=400)
DUE = ("data", "mac")


class Home:
    """A home whose keys Vault wraps; some of its keys and secrets are due."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant

    @property
    def services(self) -> Services:
        return Services(load_settings())

    def turn(self, requester: str = SCHEDULER) -> dg.ExecuteInProcessResult:
        """What the schedule starts, as the coordinator lets it through."""
        services = self.services
        with open_instance(services.settings) as instance:
            run = dg.DagsterRun(job_name=rotation.name)
            tags = stamp(services.keys, run, requester)
            return rotation.execute_in_process(
                instance=instance, run_id=run.run_id, tags=tags, raise_on_error=False
            )

    def versions(self) -> dict[str, int]:
        """Key → its newest version."""
        return {about.name: about.version for about in self.services.keys.versions()}

    def recorded(self, action: str) -> list[str]:
        return [
            f"{entry.body['subject']} {entry.body['phase']}"
            for entry in self.services.audit.entries()
            if entry.body["action"] == action and entry.body["phase"] != "intent"
        ]

    def told(self) -> Counter[str]:
        return Counter(queued.notice.event for queued in self.services.notices.list())


@pytest.fixture
def home(vault_server: VaultServer, tmp_path: Path) -> Iterator[Home]:
    tenant = vault_server.tenant(tmp_path, policy=POLICY)
    channel = {
        "name": "hook",
        "kind": "webhook",
        "url": "https://127.0.0.1:1/",
        "secret": "secret://env/NONE",
    }
    rotated = [{"secret": f"secret://local/{name}", "every_days": 30} for name in ("old", "fresh", "absent")]
    said = {
        "VAULT": tenant.settings.model_dump(mode="json", exclude_none=True),
        "KEYS": {"provider": "vault"},
        "SECRETS": {"rotated": rotated},
        "CHANNELS": [channel],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
        patch.setenv("SECURE_PLATFORM_HOME", str(tmp_path / "home"))
        for name, value in said.items():
            patch.setenv(f"SECURE_PLATFORM_{name}", json.dumps(value))
        settings = load_settings()
        prepare(settings)
        services = Services(settings)
        rotate_long_ago(services, *DUE)
        local = LocalSecrets(settings.home / "secrets", services.keys, services.audit, clock=_long_ago)
        local.set("old", b"former", actor="admin")
        services.local_secrets.set("fresh", b"fresh", actor="admin")
        yield Home(tenant)


def rotate_long_ago(services: Services, *names: str) -> None:
    with pytest.MonkeyPatch.context() as past:
        past.setattr("secure_platform.keys.lifecycle.utc_now", lambda: utc_now() - DAYS * 2)
        for name in names:
            services.keys.lifecycle.rotate(name, actor="admin")


def _long_ago() -> datetime:
    return utc_now() - DAYS


def test_what_is_due_is_rotated_and_what_fails_stops_nothing_and_is_told_once(home: Home) -> None:
    before = home.versions()
    home.tenant.allow(POLICY.format(name=home.tenant.name).replace("datakey/plaintext", "nothing"))
    assert not home.turn().success
    assert home.versions() == before
    assert home.recorded("secret.rotate") == ["secret://local/old done"]
    assert home.recorded("key.rotation_failed") == ["data event", "mac event"]
    assert home.recorded("secret.rotation_failed") == ["secret://local/absent event"]
    assert home.services.local_secrets.read("old").value != b"former"
    assert home.services.local_secrets.read("fresh").value == b"fresh"
    assert home.told() == {"key.rotation_failed": 2, "secret.rotation_failed": 1}
    home.tenant.allow(POLICY.format(name=home.tenant.name))
    home.services.local_secrets.set("absent", b"there now", actor="admin")
    assert home.turn().success
    assert home.versions() == {**before, **{name: before[name] + 1 for name in DUE}}
    assert home.recorded("key.rotate")[-2:] == ["data done", "mac done"]
    assert home.told() == {"key.rotation_failed": 2, "secret.rotation_failed": 1, "key.rotated": 2}
    assert home.services.custody.due() == []


def test_a_new_signing_key_is_in_the_trust_root_that_is_published(home: Home) -> None:
    services = home.services
    rotate_long_ago(services, "sign")
    home.services.local_secrets.set("absent", b"there now", actor="admin")
    assert home.turn().success
    root = read_trust_root((services.releases / TRUST_ROOT).read_bytes())
    signing = [each.public_key for each in home.services.keys.versions() if each.name == "sign"]
    assert [key.public_key for key in root.keys] == signing
    assert len(signing) == 3


def test_nobody_but_the_scheduler_starts_it(home: Home) -> None:
    before = home.versions()
    home.services.principals.add("dana", roles=["admin"], actor="admin")
    result = home.turn("dana")
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "rotated by the schedule only" in str(failure.step_failure_data.error)
    assert home.versions() == before
    assert home.told() == {}
