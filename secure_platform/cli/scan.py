"""`scan`: secrets in files, folders, archives and repositories; no home, no network, no value shown."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.cli.output import example, json_option, line, print_json, show, table
from secure_platform.errors import DataRefusedError, UsageError
from secure_platform.files import replace_private
from secure_platform.scan.secrets.baseline import Baseline, Sifted, dump_baseline, load_baseline, sift
from secure_platform.scan.secrets.document import load_rules, own_rules
from secure_platform.scan.secrets.findings import SecretFinding
from secure_platform.scan.secrets.report import document, sarif
from secure_platform.scan.secrets.scanner import SecretScanner
from secure_platform.scan.secrets.tree import TreeReport, scan_tree

BASELINE: Final = ".secure-platform-secrets.yaml"
FOUND: Final = DataRefusedError.exit_code
_PATHS: Final = "paths"
_DAYS: Final = 90


class _Group(click.Group):
    """`scan PATH` is `scan paths PATH`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [_PATHS, *args])


@click.group(cls=_Group, epilog=example("scan src config.yaml", "scan repo --sarif"))
def scan() -> None:
    """Look for secrets: `scan PATH…` in files, folders and archives, `scan repo` in a repository."""


def _options(command: Any) -> Any:
    for option in (
        click.option("--rules", type=click.Path(path_type=Path), help="Rules in gitleaks' format."),
        click.option("--baseline", type=click.Path(path_type=Path), help="Findings that are excused."),
        click.option("--excuse", metavar="REASON", help="Add what is open to the baseline."),
        click.option(
            "--days",
            type=click.IntRange(1, 3650),
            default=_DAYS,
            show_default=True,
            help="How long it is excused.",
        ),
        click.option("--ignored", is_flag=True, help="Also read what .gitignore files leave out."),
        click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, for code hosts."),
        json_option,
    ):
        command = option(command)
    return command


@scan.command(
    _PATHS,
    epilog=example(
        "scan src config.yaml",
        "scan export.zip --json",
        "scan . --baseline known.yaml --excuse 'rotated in March' --days 30",
    ),
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@_options
def scan_paths(paths: Sequence[Path], baseline: Path | None, **options: Any) -> int:
    """Look for secrets in PATHS: files, folders, and archives in them.

    Exits 3 if something was found that the baseline does not excuse. A file that could not be read, or is no
    text, is listed as skipped. A line with the words secure-platform:allow is left out.
    """
    return _scan({path: _name(path) for path in paths}, baseline, **options)


@scan.command("repo", epilog=example("scan repo", "scan repo ../other --sarif"))
@click.argument("path", default=".", type=click.Path(path_type=Path))
@_options
def scan_repo(path: Path, baseline: Path | None, **options: Any) -> int:
    """Look for secrets in the working tree of the git repository around PATH.

    Known findings are in .secure-platform-secrets.yaml at its root, unless --baseline names another file. The
    history is not read.
    """
    root = _repository(path)
    kept = root / BASELINE
    named = baseline or (kept if kept.exists() or options["excuse"] else None)
    return _scan({root: ""}, named, **options)


def _scan(
    roots: dict[Path, str],
    baseline: Path | None,
    *,
    rules: Path | None,
    excuse: str | None,
    days: int,
    ignored: bool,
    as_sarif: bool,
    as_json: bool,
) -> int:
    if as_sarif and as_json:
        raise UsageError("--sarif and --json exclude each other", "Ask for one of them.")
    if excuse and baseline is None:
        raise UsageError("--excuse needs a file to write to", "Name it with --baseline.")
    ruleset = load_rules(rules) if rules else own_rules()
    known = load_baseline(baseline) if baseline and (baseline.exists() or not excuse) else Baseline()
    scanner, report = SecretScanner(ruleset, known.key), TreeReport()
    for root, name in roots.items():
        scan_tree(scanner, root, report, prefix=name, ignored=ignored)
    today = datetime.now(UTC).date()
    sifted = sift(report.findings, known.excuses, today)
    if excuse and baseline is not None:
        _excuse(baseline, known, sifted, excuse, today + timedelta(days=days))
        sifted = sift(report.findings, load_baseline(baseline).excuses, today)
    if as_sarif:
        print_json(sarif(sifted.open, ruleset, version("secure-platform")))
    else:
        show(document(report, sifted), as_json=as_json, render=lambda out: _render(out, report, sifted))
    return FOUND if sifted.open else 0


def _excuse(baseline: Path, known: Baseline, sifted: Sifted, reason: str, until: date) -> None:
    replace_private(baseline, dump_baseline(known, sifted.open, reason, until).encode())


def _render(out: Console, report: TreeReport, sifted: Sifted) -> None:
    if sifted.open:
        columns = ("source", "line", "info type", "rule", "confidence", "because")
        table(out, columns, map(_row, sifted.open))
    for excuse in sifted.expired:
        line(out, f"The excuse for {excuse.rule} ({excuse.fingerprint[:8]}) ended on {excuse.expires}.")
    for excuse in sifted.unused:
        line(out, f"The excuse for {excuse.rule} ({excuse.fingerprint[:8]}) excuses nothing: remove it.")
    if report.skipped:
        table(out, ("skipped", "because"), [(each.path, each.why) for each in report.skipped])
    counted = f"{len(sifted.open)} secrets in {report.files} files"
    line(out, f"{counted}; {len(sifted.excused)} excused, {len(report.skipped)} files skipped.")


def _row(finding: SecretFinding) -> tuple[Any, ...]:
    place, confidence = finding.place, f"{finding.confidence:.2f}"
    because = "; ".join(finding.reasons)
    return place.path, place.line or None, finding.info_type, finding.rule, confidence, because


def _name(path: Path) -> str:
    """What comes before the names of files in a folder, or the file's own: what the user called it."""
    name = path.as_posix()
    if not path.is_dir():
        return name
    return "" if name == "." else f"{name}/"


def _repository(path: Path) -> Path:
    folder = path.absolute()
    for root in (folder, *folder.parents):
        if (root / ".git").exists():
            return root
    raise UsageError(f"{path} is in no git repository", "Name a folder in one, or use: scan PATH.")


COMMANDS: Final = {"scan": scan}
