"""Every change of a release's state is told, after it, once."""

import json
from pathlib import Path
from typing import NoReturn

import pytest
from built_home import Built, built_release

from secure_platform.deploy.duckdb_target import DuckDBTarget
from secure_platform.errors import IntegrityError
from secure_platform.orchestration.steps import decide
from secure_platform.orchestration.steps.deploy import deploy, rollback

pytestmark = pytest.mark.slow


@pytest.fixture
def told(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """A home with a channel that nobody listens at."""
    channel = {"name": "hook", "kind": "webhook", "url": "https://127.0.0.1:1/"}
    secret = {"secret": f"secret://file/{tmp_path}/none"}
    monkeypatch.setenv("SECURE_PLATFORM_CHANNELS", json.dumps([channel | secret]))
    return built


def _events(built: Built) -> list[tuple[str, int | None]]:
    queued = built.services.notices.list()
    return [
        (each.notice.event, each.notice.number) for each in sorted(queued, key=lambda q: q.notice.occurred_at)
    ]


def _approve(built: Built, digest: str) -> None:
    services = built.services
    base = services.target.base("healthcare")
    decide.approve(services, digest, built.person("sam"), reason="seen", base=base, ticket="OPS-1")


def test_the_whole_way_is_told_step_by_step(told: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    first = told.newest()
    _approve(told, first.digest)

    def fail(*_: object, **__: object) -> NoReturn:
        raise IntegrityError("The disk lies", "Look at it.")

    with monkeypatch.context() as patch:
        patch.setattr(DuckDBTarget, "publish", fail)
        for _ in range(2):
            with pytest.raises(IntegrityError):
                deploy(told.services, told.product)
    deploy(told.services, told.product)
    second = built_release(told, "second")
    _approve(told, second.digest)
    deploy(told.services, told.product)
    rollback(told.services, second, told.person("sam"), reason="wrong")
    third = built_release(told, "third")
    decide.reject(told.services, third.digest, told.person("sam"), reason="no")
    fourth = built_release(told, "fourth")
    decide.withdraw(told.services, fourth.digest, told.person("dana"), reason="no")
    assert _events(told) == [
        ("release.approved", 1),
        ("deploy.failed", 1),
        ("release.deployed", 1),
        ("release.pending", 2),
        ("release.approved", 2),
        ("release.deployed", 2),
        ("release.rolled_back", 2),
        ("release.pending", 3),
        ("release.rejected", 3),
        ("release.pending", 4),
        ("release.withdrawn", 4),
    ]


def test_what_is_refused_is_not_told(told: Built) -> None:
    with pytest.raises(Exception, match="forbid-self-approval"):
        decide.approve(
            told.services, told.newest().digest, told.person("dana"), reason="mine", base=None, ticket=None
        )
    assert _events(told) == []


def test_a_notice_names_nobody_and_no_reason(told: Built) -> None:
    _approve(told, told.newest().digest)
    (queued,) = told.services.notices.list()
    said = json.dumps(queued.notice.to_json())
    assert "OPS-1" in said
    assert not any(word in said for word in ("sam", "dana", "seen"))
