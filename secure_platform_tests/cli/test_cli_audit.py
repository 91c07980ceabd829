"""`audit`: names where this home knows them, and an exit code 5 for every change."""

import json
import sqlite3
from pathlib import Path

import pytest
from cli_support import Cli

from secure_platform.audit.log import JSON
from secure_platform.services import Services
from secure_platform.settings import load_settings


def _services(cli: Cli) -> Services:
    return Services(load_settings(home=cli.home))


def test_known_actors_have_names_and_others_do_not(cli: Cli) -> None:
    log = _services(cli).audit
    for actor in ("admin", "service:deployer", "dagster", "anonymous", "service:gate", "mallory"):
        log.append("probe.run", actor=actor, subject="probe", detail={"principal": log.identify(actor)})
    entries = cli("audit", "tail", "--count", "7", "--json", token="admin").json[:6]
    unknown = log.identify("mallory")
    names = ["admin", "service:deployer", "dagster", "anonymous", "service:gate", unknown]
    assert [entry["actor"] for entry in entries] == names
    assert [entry["detail"]["principal"] for entry in entries] == names
    text = cli("audit", "tail", token="admin").out
    assert "mallory" not in text
    assert unknown not in text
    assert f"{unknown[:14]}…" in text


def test_who_acted_before_a_rotation_of_the_digest_key_has_a_name(cli: Cli) -> None:
    services = _services(cli)
    for _ in range(2):
        services.audit.append("probe.run", actor="admin", subject="probe")
        services.keys.lifecycle.rotate("digest", actor="admin")
    entries = cli("audit", "tail", "--count", "12", "--json", token="admin").json
    assert [entry["actor"] for entry in entries if entry["action"] == "probe.run"] == ["admin", "admin"]


def test_the_table_has_a_line_per_entry(cli: Cli) -> None:
    log = _services(cli).audit
    log.append(
        "probe.run", actor="admin", subject="\x1b[2J" + "s" * 90, detail={"many": ["a" * 50, "b" * 50]}
    )
    lines = cli("audit", "tail", "--count", "2", token="admin").out.splitlines()
    assert len(lines) == 2 + 2
    assert "\\x1b[2J" in lines[2]
    assert lines[2].rstrip().endswith("…")


def test_a_whole_log_verifies_without_a_token(cli: Cli) -> None:
    report = cli("audit", "verify", "--json").json
    assert report["size"] > 0
    assert report["unfinished"] == []
    assert "entries removed from the end would not show" in cli("audit", "verify").out


def test_an_edited_log_exits_5(cli: Cli) -> None:
    with sqlite3.connect(cli.home / "audit.db") as database:
        database.execute(
            "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'home.', 'hose.') AS BLOB)"
        )
    database.close()
    result = cli("audit", "verify", "--json")
    assert result.code == 5
    assert result.json["error"] == "IntegrityError"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"nonsense", b"origin\n1\nAAAA\n\n"])
def test_what_is_no_checkpoint_exits_5(content: bytes, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "kept.txt"
    file.write_bytes(content)
    assert cli("audit", "verify", "--checkpoint", str(file), "--json").json["exit_code"] == 5


def test_a_kept_checkpoint_shows_truncation(cli: Cli, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text(_services(cli).audit.checkpoint(), encoding="utf-8")
    agreed = cli("audit", "verify", "--checkpoint", str(kept))
    assert agreed.code == 0
    assert "would not show" not in agreed.out
    database = sqlite3.connect(cli.home / "audit.db")
    with database:
        size = database.execute("SELECT count(*) FROM entry").fetchone()[0]
        database.execute("DELETE FROM entry WHERE seq = ?", (size - 1,))
    database.close()
    assert cli("audit", "verify", "--checkpoint", str(kept)).code == 5


def test_a_proof_is_the_same_json_with_and_without_option(cli: Cli) -> None:
    proof = cli("audit", "prove", "0", "--json", token="admin").json
    assert proof["index"] == 0
    assert json.loads(proof["entry"])["seq"] == 0
    assert json.loads(cli("audit", "prove", "0", token="admin").out)["entry"] == proof["entry"]
    missing = cli("audit", "prove", "99999", "--json", token="admin")
    assert (missing.code, "no entry 99999" in missing.json["culprit"]) == (2, True)


def test_an_export_is_written_where_it_can_be(cli: Cli, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert cli("audit", "export", str(copy), "--json", token="admin").json == {"directory": str(copy)}
    assert (copy / "checkpoint").is_file()
    assert cli("audit", "verify", "--checkpoint", str(copy / "checkpoint")).code == 0
    refused = cli("audit", "export", "/proc/nowhere", "--json", token="admin")
    assert refused.code == 2
    assert "/proc/nowhere" in refused.json["culprit"]


def test_an_export_has_the_findings_as_ocsf_events_when_asked(cli: Cli, tmp_path: Path) -> None:
    found: dict[str, JSON] = {"column": "c", "info_type": "EMAIL", "count": 3, "confidence": "0.94"}
    found["refused"] = False
    own: dict[str, JSON] = {**found, "info_type": "BADGE_OF_A_PRODUCT"}
    log = _services(cli).audit
    log.append(
        "scan.findings", actor="admin", subject="p/raw/d/" + "0" * 32, detail={"findings": [found, own]}
    )
    folder, file = tmp_path / "log", tmp_path / "log" / "findings.ocsf.ndjson"
    assert cli("audit", "export", str(folder), token="admin").code == 0
    assert not file.exists()
    for _ in range(2):
        assert cli("audit", "export", str(folder), "--ocsf", token="admin").code == 0
        events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        kinds = [event["finding_info"]["types"] for event in events]
        assert (kinds, file.stat().st_mode & 0o777) == ([["EMAIL"], ["BADGE_OF_A_PRODUCT"]], 0o600)
        assert [event["type_uid"] for event in events] == [200601, 200601]
