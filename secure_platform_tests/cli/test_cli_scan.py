"""`scan`: exit codes, formats, baselines, repositories and what can be scanned; most of it needs no home."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from cli_support import Cli

# Composed, so that it stands nowhere.
TOKEN = "ghp_" + "".join(f"{chr(97 + place * 7 % 26)}{place % 10}" for place in range(18))
RULES = '[[rules]]\nid = "ours"\ninfoType = "PASSWORD"\nregex = "ours-([0-9a-f]{6})"\nkeywords = ["ours-"]\n'


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text(f'token = "{TOKEN}"\n', encoding="utf-8")
    (root / "ignored.py").write_text(f'token = "{TOKEN}"\n', encoding="utf-8")
    (root / ".gitignore").write_text("ignored.py\n", encoding="utf-8")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def scan(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "no home")


@pytest.mark.usefixtures("tree")
def test_a_secret_is_told_by_place_and_the_exit_code(scan: Cli) -> None:
    result = scan("scan", ".")
    assert result.code == 3
    assert "src/a.py" in result.out
    assert "github-pat" in result.out
    assert "1 findings (1 secrets) in 2 sources; 0 excused, 0 skipped." in result.out
    assert TOKEN[:8] not in result.out + result.err
    assert not scan.home.exists()


@pytest.mark.usefixtures("tree")
def test_clean_files_exit_0(scan: Cli) -> None:
    assert scan("scan", ".gitignore").code == 0
    assert scan("scan", ".gitignore", "--json").json["findings"] == []


@pytest.mark.usefixtures("tree")
def test_json_and_sarif_name_files_as_the_user_did(scan: Cli) -> None:
    (finding,) = scan("scan", "--json", "src").json["findings"]
    assert finding["source"] == "src/a.py"
    result = scan("scan", "paths", "./src/a.py", "ignored.py", "--sarif")
    assert result.code == 3
    places = [each["locations"][0]["physicalLocation"] for each in result.json["runs"][0]["results"]]
    assert [place["artifactLocation"]["uri"] for place in places] == ["src/a.py", "ignored.py"]
    assert TOKEN[:8] not in result.out


def test_what_git_ignores_is_read_when_asked_for(tree: Path, scan: Cli) -> None:
    sources = [each["source"] for each in scan("scan", str(tree), "--ignored", "--json").json["findings"]]
    assert [Path(source).name for source in sources] == ["ignored.py", "a.py"]


def test_a_broken_archive_is_listed_and_the_rest_is_scanned(tree: Path, scan: Cli) -> None:
    with zipfile.ZipFile(tree / "whole.zip", "w") as archive:
        archive.write(tree / "src" / "a.py", "a.py")
    (tree / "half.zip").write_bytes((tree / "whole.zip").read_bytes()[:40])
    document = scan("scan", ".", "--json").json
    assert {each["source"] for each in document["findings"]} == {"src/a.py", "whole.zip!/a.py"}
    assert document["skipped"] == [{"source": "half.zip", "reason": "the archive cannot be read"}]


def test_rules_of_ones_own_stand_in_for_the_platform_s(tree: Path, scan: Cli) -> None:
    (tree / "rules.toml").write_text(RULES, encoding="utf-8")
    (tree / "b.txt").write_text("ours-" + "ab12cd", encoding="utf-8")
    (finding,) = scan("scan", "b.txt", "src", "--rules", "rules.toml", "--json").json["findings"]
    assert (finding["rule"], finding["info_type"]) == ("ours", "PASSWORD")


def test_known_findings_are_excused_and_new_ones_are_not(tree: Path, scan: Cli) -> None:
    assert scan("scan", "src", "--baseline", "known.yaml", "--excuse", "rotated", "--days", "5").code == 0
    assert TOKEN[:8] not in (tree / "known.yaml").read_text(encoding="utf-8")
    assert scan("scan", "src", "--baseline", "known.yaml").code == 0
    (tree / "src" / "b.py").write_text(f"token = '{TOKEN[::-1].replace('_phg', '')}0000'\n", encoding="utf-8")
    document = scan("scan", "src", "--baseline", "known.yaml", "--json").json
    assert ([each["source"] for each in document["findings"]], document["excused"]) == (["src/b.py"], 1)
    (tree / "src" / "a.py").unlink()
    assert len(scan("scan", "src", "--baseline", "known.yaml", "--json").json["unused"]) == 1


def test_a_baseline_is_clean_itself(tree: Path, scan: Cli) -> None:
    scan("scan", ".", "--baseline", "known.yaml", "--excuse", "rotated")
    assert (tree / "known.yaml").exists()
    assert scan("scan", ".", "--baseline", "known.yaml").code == 0


def test_a_repository_is_scanned_from_anywhere_in_it_with_its_own_baseline(tree: Path, scan: Cli) -> None:
    subprocess.run(["git", "init", "--quiet", str(tree)], check=True)
    (finding,) = scan("scan", "repo", str(tree / "src"), "--json").json["findings"]
    assert finding["source"] == "src/a.py"
    assert scan("scan", "repo", "--excuse", "rotated").code == 0
    assert (tree / ".secure-platform-secrets.yaml").exists()
    assert scan("scan", "repo").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("missing.txt",),
        ("src", "--json", "--sarif"),
        (),
        ("src", "--table", "--json"),
        ("src", "--schema", "public"),
        ("healthcare", "--zone", "raw", "--release", "1"),
        ("src", "--html", "src/a.py"),
        ("src", "--resume", "src/a.py"),
        ("--url", "postgresql://user:word@host/db"),
        ("--url", "secret://env/NOT_SET_ANYWHERE"),
        ("s3://",),
        ("src", "--excuse", "known"),
        ("src", "--baseline", "missing.yaml"),
        ("src", "--rules", "src/a.py"),
        ("repo", "/"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("tree")
def test_what_cannot_be_done_exits_2_with_a_fix(scan: Cli, words: tuple[str, ...]) -> None:
    result = scan("scan", *words)
    assert result.code == 2
    assert result.err or json.loads(result.out)["fix"]
    assert TOKEN[:8] not in result.out + result.err


PEOPLE = "id,email,card\n1,anna@example.org,4111111111111111\n2,bob@example.org,5555555555554444\n"


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    (tmp_path / "note.log").write_text("mail to anna@example.org\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("people")
def test_personal_data_is_told_by_column_and_by_line(scan: Cli) -> None:
    result = scan("scan", "people.csv", "note.log", "--json")
    assert result.code == 3
    members = ("source", "column", "info_type", "rows")
    found = {tuple(each[member] for member in members) for each in result.json["findings"]}
    assert found == {
        ("people.csv", "email", "EMAIL", 2),
        ("people.csv", "card", "CREDIT_CARD", 2),
        ("note.log", None, "EMAIL", 1),
    }
    assert [each["kind"] for each in result.json["scanned"]] == ["table", "text"]
    assert "anna" not in result.out + scan("scan", "people.csv", "note.log").out


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 3),
        (("--fail-on", "restricted"), 3),
        (("--fail-on", "secrets"), 0),
        (("--fail-on", "nothing"), 0),
        (("--find", "secrets"), 0),
        (("--find", "pii"), 3),
    ],
    ids=str,
)
def test_what_makes_a_scan_fail_can_be_chosen(scan: Cli, words: tuple[str, ...], code: int) -> None:
    assert scan("scan", "people.csv", *words).code == code


def test_the_page_and_the_state_are_private_new_files_without_a_value(people: Path, scan: Cli) -> None:
    assert scan("scan", "people.csv", "--html", "page.html", "--resume", "state").code == 3
    for name in ("page.html", "state"):
        content = (people / name).read_text(encoding="utf-8")
        assert "anna" not in content
        assert "4111" not in content
        assert (people / name).stat().st_mode & 0o777 == 0o600
    assert "E-mail address" in (people / "page.html").read_text(encoding="utf-8")
    assert scan("scan", "people.csv", "--html", "page.html").code == 2


def test_a_scan_goes_on_where_another_ended_with_the_same_fingerprints(people: Path, scan: Cli) -> None:
    first = scan("scan", "people.csv", "--resume", "state", "--json").json["findings"]
    both = scan("scan", "people.csv", "note.log", "--resume", "state", "--json").json["findings"]
    assert both[: len(first)] == first
    (people / "people.csv").write_text("id\n1\n", encoding="utf-8")
    again = scan("scan", "people.csv", "--resume", "state", "--json")
    assert (again.code, again.json["findings"]) == (0, [])


@pytest.mark.usefixtures("people")
def test_what_was_found_before_a_scan_ended_is_excused_by_the_scan_that_goes_on(scan: Cli) -> None:
    words = ("scan", "people.csv", "--resume", "state")
    assert scan(*words).code == 3
    assert scan(*words, "--baseline", "known.yaml", "--excuse", "test data").code == 0
    assert scan("scan", "people.csv", "--baseline", "known.yaml").code == 0


@pytest.mark.usefixtures("people")
def test_personal_data_is_excused_as_secrets_are(scan: Cli) -> None:
    words = ("scan", "people.csv", "--baseline", "known.yaml")
    assert scan(*words, "--excuse", "made-up people").code == 0
    assert scan(*words, "--json").json["excused"] == 2
    assert scan("scan", "people.csv", "note.log", "--baseline", "known.yaml").code == 3


@pytest.mark.usefixtures("people")
def test_personal_data_is_in_sarif(scan: Cli) -> None:
    (run,) = scan("scan", "people.csv", "--sarif").json["runs"]
    assert {each["ruleId"] for each in run["results"]} == {"EMAIL", "CREDIT_CARD"}


def test_tables_are_searched_by_rules_of_ones_own_too(people: Path, scan: Cli) -> None:
    (people / "rules.toml").write_text(RULES, encoding="utf-8")
    (people / "a.csv").write_text("id,thing\n1,ours-" + "ab12cd\n", encoding="utf-8")
    (finding,) = scan("scan", "a.csv", "--rules", "rules.toml", "--json").json["findings"]
    assert (finding["column"], finding["info_type"], finding["ratio"]) == ("thing", "PASSWORD", 1.0)


def test_a_database_is_named_by_the_secret_that_holds_its_url(
    scan: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCANNED", "postgresql://reader:hunter2@127.0.0.1:1/none")
    result = scan("scan", "--url", "secret://env/SCANNED")
    assert result.code == 7
    assert "secret://env/SCANNED" in result.err
    assert "hunter2" not in result.err
    assert not scan.home.exists()
