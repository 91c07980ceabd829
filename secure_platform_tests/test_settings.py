from pathlib import Path

import pytest

from secure_platform.errors import UsageError
from secure_platform.settings import PACKAGE, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "PROJECT", "CONFIG", "TOKEN_FILE", "DEFS", "ENVIRONMENT", "POLICIES", "DBT_PROJECT"):
        monkeypatch.delenv(f"SECURE_PLATFORM_{name}", raising=False)


def test_with_nothing_set_everything_is_embedded_in_this_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.project == PACKAGE.parent
    assert settings.home == PACKAGE.parent / ".secure_platform"
    assert settings.defs == PACKAGE / "defs"
    assert settings.source_directory("x") == settings.home / "sources" / "x"
    assert settings.deployer_token_file == settings.home / "keys" / "deployer.token"


def foreign(directory: Path, layout: str) -> Path:
    (directory / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "clinic"\n')
    (directory / layout / "defs").mkdir(parents=True)
    return directory


@pytest.mark.parametrize("layout", ["clinic", "src/clinic"])
def test_a_foreign_dg_project_is_found_from_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    foreign(tmp_path, layout)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    settings = load_settings()
    assert (settings.project, settings.defs) == (tmp_path, tmp_path / layout / "defs")
    assert settings.home == tmp_path / ".secure_platform"
    assert settings.dbt_project == tmp_path / "dbt"


def test_the_environment_wins_over_the_file_and_the_call_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "platform.yaml").write_text(
        "home: state\nenvironment: staging\nsources:\n  healthcare: data/emr\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert (settings.home, settings.environment) == (tmp_path / "state", "staging")
    assert settings.source_directory("healthcare") == tmp_path / "data" / "emr"
    monkeypatch.setenv("SECURE_PLATFORM_ENVIRONMENT", "production")
    monkeypatch.setenv("SECURE_PLATFORM_MEMORY_LIMIT", "4GB")
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(tmp_path / "other"))
    assert load_settings().home == tmp_path / "other"
    assert load_settings(home=tmp_path / "third").home == tmp_path / "third"
    assert (load_settings().environment, load_settings().memory_limit) == ("production", "4GB")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hoem: x\n", "hoem"),
        ("memory_limit: much\n", "memory_limit"),
        ("memory_limit: 80%\n", "memory_limit"),
        ("sources: [1]\n", "sources"),
        ("- a\n", "not a mapping"),
        ("a: [\n", "not YAML"),
    ],
)
def test_a_setting_that_is_not_understood_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "platform.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        load_settings()


def test_a_channel_that_lacks_something_says_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_CHANNELS", '[{"name": "a", "kind": "email", "url": "smtps://zq"}]')
    with pytest.raises(UsageError, match=r"channels\.0 \(it lacks .*sender") as refused:
        load_settings(home=tmp_path)
    assert "zq" not in str(refused.value)
