"""A home is created once, by one process, whatever starts first."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from secure_platform.access.principals import ANONYMOUS
from secure_platform.audit.log import AuditLog
from secure_platform.errors import AccessDeniedError, UsageError
from secure_platform.homes import initialise
from secure_platform.monitor.incident import MONITOR
from secure_platform.services import ADMINISTRATOR, DEPLOYER, SCHEDULER, Services
from secure_platform.settings import Settings, load_settings

START = """
import sys
from secure_platform.orchestration.home import open_instance
from secure_platform.services import Services
from secure_platform.settings import load_settings
settings = load_settings()
with open_instance(settings) as instance:
    instance.get_run_ids(limit=1)
services = Services(settings)
services.audit.append("test.start", actor="admin", subject="x")
print(services.keys.token_version("patient"), len(services.principals.list()))
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    return load_settings(home=tmp_path / "home")


def test_a_home_is_private_and_complete(settings: Settings) -> None:
    assert initialise(settings)
    assert not initialise(settings)
    open_files = [path for path in settings.home.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_files == []
    services = Services(settings)
    roles = {principal.name: principal.roles for principal in services.principals.list()}
    programs = {SCHEDULER: {"scheduler"}, DEPLOYER: {"pipeline"}, MONITOR: {"monitor"}}
    assert roles == {**programs, ADMINISTRATOR: {"admin"}}
    actions = [entry.body["action"] for entry in services.audit.entries()]
    assert actions.count("key.create") == 2
    assert "home.initialise" in actions
    services.audit.verify()


def test_a_home_that_others_can_enter_is_refused(settings: Settings) -> None:
    settings.home.mkdir(mode=0o755)
    settings.home.chmod(0o755)
    with pytest.raises(UsageError, match="open to other users"):
        initialise(settings)


def test_a_creation_that_died_half_way_is_completed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "checkpoint", dies)
        with pytest.raises(KeyboardInterrupt):
            initialise(settings)
    assert initialise(settings)
    services = Services(settings)
    assert services.deployer().roles == {"pipeline"}
    services.audit.verify()


@pytest.mark.slow
def test_eight_processes_on_a_fresh_home_find_one_whole_home(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "SECURE_PLATFORM_HOME": str(tmp_path / "home"),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-c", START],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    outputs = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * 8, outputs
    assert {out for out, _ in outputs} == {"1 4\n"}
    services = Services(load_settings(home=tmp_path / "home"))
    entries = [entry.body["action"] for entry in services.audit.entries()]
    assert (entries.count("home.initialise"), entries.count("test.start")) == (1, 8)
    services.audit.verify()


def test_without_a_token_one_is_anonymous_and_builds_for_the_scheduler(settings: Settings) -> None:
    initialise(settings)
    services = Services(settings)
    assert services.caller() is ANONYMOUS
    assert services.requester().name == SCHEDULER


def test_a_wrong_token_is_not_the_same_as_none(settings: Settings) -> None:
    initialise(settings)
    wrong = settings.home / "wrong.token"
    wrong.write_text("spt_0123456789abcdef_" + "A" * 43)
    wrong.chmod(0o600)
    services = Services(settings.model_copy(update={"token_file": wrong}))
    with pytest.raises(AccessDeniedError):
        services.caller()
    with pytest.raises(AccessDeniedError):
        services.requester()


def test_an_unknown_product_is_named_with_the_known_ones(settings: Settings) -> None:
    initialise(settings)
    with pytest.raises(UsageError, match="healthcare"):
        Services(settings).product("helthcare")
