"""The pipelines that are handed out can be read, ask for what exists only, and fetch nothing themselves."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from secure_platform.cli.main import cli
from secure_platform.settings import PACKAGE

CI = PACKAGE.parent / "infra" / "ci"
FILES = sorted(path for path in CI.iterdir() if path.is_file())
COMMAND = re.compile(r"secure-platform ((?:[^\n|>&#]|\\\n)+)")
PINNED = re.compile(r"^[\w./-]+@[0-9a-f]{40}$")


def test_there_is_one_for_each_system() -> None:
    assert [path.name for path in FILES] == ["Jenkinsfile", "github-actions.yml", "gitlab-ci.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_calls_commands_and_options_that_exist(path: Path) -> None:
    found = [shlex.split(words) for words in COMMAND.findall(_flat(path))]
    assert len(found) >= 3
    for words in found:
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group):
            chosen = command.get_command(context, words.pop(0))
            assert chosen is not None
            command = chosen
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_names_no_host_home_or_key(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"https?://|--home|SECURE_PLATFORM_HOME|root\.key|\.db\b", text)
    assert not re.search(r"^\s*(image|container):", text, re.MULTILINE)


def test_the_github_workflow_gives_little_and_pins_what_it_uses() -> None:
    document = yaml.safe_load((CI / "github-actions.yml").read_text("utf-8"))
    assert document["permissions"] == {}
    assert set(document["jobs"]) == {"contracts", "build"}
    for job in document["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert used
        assert all(PINNED.match(use) for use in used)
        runs = "\n".join(step.get("run", "") for step in job["steps"])
        # What an outsider can write never becomes part of a script.
        assert "${{" not in runs


def test_the_gitlab_pipeline_waits_for_people_after_the_build() -> None:
    document: dict[str, Any] = yaml.safe_load((CI / "gitlab-ci.yml").read_text("utf-8"))
    stages = {
        name: job["stage"] for name, job in document.items() if isinstance(job, dict) and "stage" in job
    }
    assert stages == {"contracts": "check", "build": "build", "deployed": "release"}
    assert document["stages"] == ["check", "build", "release"]


def test_the_jenkins_pipeline_is_balanced() -> None:
    """No Groovy parser is at hand: its blocks and quotes close, and its stages are those of the others."""
    text = re.sub(r"(?m)^\s*//.*$", "", (CI / "Jenkinsfile").read_text("utf-8"))
    assert re.findall(r"stage\('([^']+)'\)", text) == ["Set up", "Contracts", "Build and release"]
    assert text.count("'''") % 2 == 0
    blocks = re.sub(r"'''.*?'''|'[^'\n]*'", "", text, flags=re.DOTALL)
    for opening, closing in (("{", "}"), ("(", ")"), ("[", "]")):
        assert blocks.count(opening) == blocks.count(closing)


def _flat(path: Path) -> str:
    """The text with folded commands on one line, without comments."""
    text = re.sub(r">-\n\s+", "", path.read_text("utf-8"))
    text = re.sub(r"(?m)^\s*(#|//).*$", "", text)
    return re.sub(r"(contract diff)\s*\n\s+", r"\1 ", text)
