"""A real Prometheus scrapes the server, and answers every question of the rules and the dashboard."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from api_support import served_api
from job_home import PRODUCT, Job
from loopback_servers import http_server
from waiting import wait_for
from web_login import person

from secure_platform.control.database import utc_now
from secure_platform.errors import AccessDeniedError
from secure_platform.monitor.incident import Sighting
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.services import Services
from secure_platform.settings import PACKAGE, load_settings

pytestmark = [pytest.mark.slow, pytest.mark.system]

INFRA = PACKAGE.parent / "infra" / "monitoring"
START_SECONDS = 60
SEEN = Sighting("", "", "run", "r1", "fail")
LOST = Sighting("production", "patient_summary", "matches_release", "p1", "fail", blocking=True)


@pytest.fixture
def services(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A home in which everything has happened once that a panel shows."""
    with pytest.raises(AccessDeniedError):
        job.services.gate.approve(job.newest().digest, job.person("dana"), reason="mine", base=None)
    job.approve()
    assert job.deploy().succeeded
    with http_server() as inbox:
        secret = tmp_path / "secret"
        secret.write_text(f"whsec_{'c2VjcmV0' * 5}\n")
        secret.chmod(0o600)
        told = {"name": "stewards", "kind": "webhook", "url": inbox.url, "secret": f"secret://file/{secret}"}
        monkeypatch.setenv("SECURE_PLATFORM_CHANNELS", json.dumps([{**told, "allow": ["127.0.0.0/8"]}]))
        services = Services(load_settings())
        services.watchdog.beat()
        _incidents(services)
        services.notices.announce("freeze.set", product=PRODUCT)
        assert [each.state for each in services.notices.deliver()] == ["delivered"]
        late = replace(
            services.metrics.before(PRODUCT, "patients", "raw")[-1],
            snapshot_id="f" * 32,
            verdicts={"rows": {"state": "warn"}},
            recorded_at=utc_now(),
        )
        services.metrics.add(late)
        yield services


def _incidents(services: Services) -> None:
    """One that is open, and one that somebody has looked at."""
    services.incidents.report(PRODUCT, [SEEN])
    (seen,) = services.incidents.all(PRODUCT)
    who = services.principals.get("dana")
    assert who is not None
    services.incidents.settle(who, named_resource(services, PRODUCT), seen, "acknowledge", note="seen")
    services.incidents.report(PRODUCT, [LOST])


@contextmanager
def scraping(programs: Path, folder: Path, services: Services, url: str) -> Iterator[httpx.Client]:
    """Prometheus with our configuration, on this server."""
    configuration = yaml.safe_load((INFRA / "prometheus.yml").read_text())
    configuration["global"]["scrape_interval"] = "1s"
    (job,) = configuration["scrape_configs"]
    job |= {"scheme": "http", "static_configs": [{"targets": [urlsplit(url).netloc]}]}
    shutil.copy(INFRA / "rules.yml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    who = person(services, "auditor", name="prometheus")
    issued = services.tokens.issue(who.name, actor="admin", scopes=("metrics_read",))
    (folder / "platform.token").write_text(issued.secret)
    subprocess.run([programs / "promtool", "check", "config", folder / "prometheus.yml"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command: list[str | Path] = [
        programs / "prometheus",
        f"--config.file={folder}/prometheus.yml",
        "--log.level=error",
    ]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                yield client
        finally:
            process.terminate()


def ask(client: httpx.Client, query: str) -> list[object]:
    try:
        answer = client.get("/api/v1/query", params={"query": query})
    except httpx.TransportError:
        return []
    if answer.status_code != 200:
        assert answer.status_code == 503, answer.text
        return []
    found: list[object] = answer.json()["data"]["result"]
    return found


def test_every_panel_and_rule_is_answered_by_a_prometheus_that_scrapes(
    prometheus: Path, services: Services, tmp_path: Path
) -> None:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    panels = json.loads((INFRA / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    with served_api(services, own_runs=True) as url, scraping(prometheus, folder, services, url) as client:
        assert wait_for(lambda: ask(client, "rate(secure_platform_audit_entries_total[5m])"), START_SECONDS)
        answers = {query: ask(client, query) for query in asked}
        assert [query for query, found in answers.items() if not found] == []
        rules = client.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    assert len(rules) == len(yaml.safe_load((INFRA / "rules.yml").read_text())["groups"][0]["rules"])


def test_the_rules_raise_what_their_tests_say(prometheus: Path) -> None:
    command: list[str | Path] = [prometheus / "promtool", "test", "rules", "rules_test.yml"]
    finished = subprocess.run(command, cwd=INFRA, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
