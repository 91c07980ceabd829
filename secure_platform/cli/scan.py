"""`scan`: personal data and secrets in whatever is named, in one report; no network of ours, no value shown."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from secure_platform.cli.output import (
    example,
    json_option,
    line,
    print_json,
    printable,
    require_new,
    show,
    table,
)
from secure_platform.cli.scan_targets import Asked, called, sources
from secure_platform.errors import DataRefusedError, UsageError
from secure_platform.files import replace_private, write_private
from secure_platform.scan.columns import Scanner
from secure_platform.scan.page import page
from secure_platform.scan.report import Reported, Section, document
from secure_platform.scan.sarif import sarif
from secure_platform.scan.secrets.baseline import Baseline, Sifted, dump_baseline, load_baseline, sift
from secure_platform.scan.secrets.document import load_rules, own_rules
from secure_platform.scan.secrets.rules import RuleSet
from secure_platform.scan.secrets.scanner import SecretScanner
from secure_platform.scan.sources.database import Wanted
from secure_platform.scan.sources.inspection import Inspection
from secure_platform.scan.sources.work import State, work
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import info_types

BASELINE: Final = ".secure-platform-secrets.yaml"
FOUND: Final = DataRefusedError.exit_code
_PATHS: Final = "paths"
_DAYS: Final = 90
_ALL: Final = "all"
_SECRET: Final = "secret"  # noqa: S105 - the group of info types


class _Group(click.Group):
    """`scan PATH` is `scan paths PATH`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [_PATHS, *args])


_EXAMPLES: Final = (
    "scan patients.csv exports/ --html report.html",
    "scan s3://bucket/landing --json",
    "scan --url secret://env/DATABASE_URL --schema public",
    "--token-file me.token scan healthcare/patients --zone raw",
    "scan repo --find secrets --sarif",
)


@click.group(cls=_Group, epilog=example(*_EXAMPLES))
def scan() -> None:
    """Look for personal data and secrets: `scan TARGET…` anywhere, `scan repo` in a repository.

    See: secure-platform scan paths --help
    """


def _options(command: Any) -> Any:
    for option in (
        click.option(
            "--find",
            type=click.Choice([_ALL, "pii", "secrets"]),
            default=_ALL,
            show_default=True,
            help="What to look for.",
        ),
        click.option(
            "--fail-on",
            type=click.Choice(list(_FAILING)),
            default="any",
            show_default=True,
            help="Which findings make the exit code 3.",
        ),
        click.option(
            "--rules", type=click.Path(path_type=Path), help="Rules for secrets in gitleaks' format."
        ),
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
        click.option(
            "--resume",
            type=click.Path(path_type=Path),
            metavar="STATE",
            help="Keep what is done in this file, and go on from there; it holds no value.",
        ),
        click.option(
            "--html",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Also write the report as a page: a new 0600 file.",
        ),
        click.option("--table", "as_table", is_flag=True, help="Print a table; this is the default."),
        click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, for code hosts."),
        json_option,
    ):
        command = option(command)
    return command


def _is_secret(info_type: str) -> bool:
    return info_types()[info_type].group == _SECRET


def _at_least(classification: Classification) -> Callable[[str], bool]:
    return lambda info_type: info_types()[info_type].classification >= classification


_FAILING: Final[Mapping[str, Callable[[str], bool]]] = {
    "any": lambda _: True,
    "confidential": _at_least(Classification.CONFIDENTIAL),
    "restricted": _at_least(Classification.RESTRICTED),
    "secrets": _is_secret,
    "nothing": lambda _: False,
}


@scan.command(
    _PATHS,
    epilog=example(
        *_EXAMPLES[:-1],
        "scan . --baseline known.yaml --excuse 'rotated in March' --days 30",
        "scan s3://bucket --resume scan.state --fail-on restricted",
    ),
)
@click.argument("targets", nargs=-1)
@click.option("--url", metavar="REFERENCE", help="A PostgreSQL database: secret://… that holds its URL.")
@click.option("--schema", "schemas", multiple=True, help="Only this schema of it; several can be named.")
@click.option("--only-table", "tables", multiple=True, help="Only this table of it, or SCHEMA.TABLE.")
@click.option(
    "--zone",
    type=click.Choice(["raw", "protected", "marts", "production"]),
    help="TARGETS are data of the home: PRODUCT or PRODUCT/DATASET in this zone.",
)
@click.option("--release", type=click.IntRange(1), help="TARGETS are data of the home: of this release.")
@click.option("--purpose", help="What production is read for: one of the product's purposes; it is recorded.")
@_options
def scan_paths(
    targets: Sequence[str],
    url: str | None,
    schemas: tuple[str, ...],
    tables: tuple[str, ...],
    zone: Any,
    release: int | None,
    purpose: str | None,
    **options: Any,
) -> int:
    """Look for personal data and secrets in TARGETS: files, folders, archives in them, s3://BUCKET/PREFIX.

    CSV, Parquet, JSON, workbooks and SQLite are scanned as tables, everything else as text. Exits 3 if
    something was found that the baseline does not excuse (see --fail-on), else 0. What could not be read is
    listed as skipped. A line with the words secure-platform:allow is left out of the search for secrets.
    """
    if not targets and url is None:
        raise UsageError("There is nothing to scan", "Name files, folders, s3://… or a database: --url.")
    if zone and release:
        raise UsageError("--zone and --release exclude each other", "Name one of them.")
    if (schemas or tables) and url is None:
        raise UsageError("--schema and --only-table choose from a database", "Name it: --url secret://….")
    asked = Asked(
        targets=targets,
        url=url,
        wanted=Wanted(schemas, tables),
        zone=zone,
        release=release,
        purpose=purpose,
        ignored=options.pop("ignored"),
    )
    return _scan(asked, **options)


@scan.command("repo", epilog=example("scan repo", "scan repo ../other --find secrets --sarif"))
@click.argument("path", default=".", type=click.Path(path_type=Path))
@_options
def scan_repo(path: Path, baseline: Path | None, **options: Any) -> int:
    """Look for personal data and secrets in the working tree of the git repository around PATH.

    Known findings are in .secure-platform-secrets.yaml at its root, unless --baseline names another file. The
    history is not read.
    """
    root = _repository(path)
    kept = root / BASELINE
    named = baseline or (kept if kept.exists() or options["excuse"] else None)
    asked = Asked(roots=((root, ""),), ignored=options.pop("ignored"))
    return _scan(asked, baseline=named, **options)


def _scan(
    asked: Asked,
    *,
    find: str,
    fail_on: str,
    rules: Path | None,
    baseline: Path | None,
    excuse: str | None,
    days: int,
    resume: Path | None,
    html: Path | None,
    as_table: bool,
    as_sarif: bool,
    as_json: bool,
) -> int:
    if as_table + as_sarif + as_json > 1:
        raise UsageError("--table, --sarif and --json exclude each other", "Ask for one of them.")
    if excuse and baseline is None:
        raise UsageError("--excuse needs a file to write to", "Name it with --baseline.")
    if html is not None:
        require_new(html)
    ruleset = load_rules(rules) if rules else own_rules()
    known = load_baseline(baseline) if baseline and (baseline.exists() or not excuse) else Baseline()
    state = State(resume, _about(rules), known.key if baseline else None) if resume else None
    section = _found(asked, ruleset, state, state.key if state else known.key, own=rules is not None)
    wanted = [
        each for each in section.findings if find == _ALL or (find == "secrets") == _is_secret(each.info_type)
    ]
    today = datetime.now(UTC).date()
    sifted = sift(wanted, known.excuses, today)
    if excuse and baseline is not None:
        _excuse(baseline, known, sifted, excuse, today + timedelta(days=days))
        sifted = sift(wanted, load_baseline(baseline).excuses, today)
    told = document(section, sifted)
    if html is not None:
        write_private(html, page(told, made=datetime.now(UTC)).encode())
    if as_sarif:
        print_json(sarif(sifted.open, ruleset, version("secure-platform")))
    else:
        show(told, as_json=as_json, render=lambda out: _render(out, section, sifted))
    return FOUND if any(map(_FAILING[fail_on], (each.info_type for each in sifted.open))) else 0


def _found(asked: Asked, ruleset: RuleSet, state: State | None, key: bytes, *, own: bool) -> Section:
    inspection = Inspection(Scanner(info_types()), SecretScanner(ruleset, key), None, key, own_rules=own)
    whole = Section()
    with ExitStack() as stack, _progress() as tell:
        for section in work(sources(asked, stack), inspection, state, tell):
            whole.add(section)
    return whole


def _about(rules: Path | None) -> str:
    """What a result depends on beside its sources."""
    content = rules.read_bytes() if rules else b""
    return hashlib.sha256(version("secure-platform").encode() + b"\0" + content).hexdigest()


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is scanned now, on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.completed} done, now"), _Name())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, completed=-1)
        yield lambda name: progress.update(task, advance=1, description=name)


class _Name(TextColumn):
    """A name as it is, not as markup."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Text:
        return Text(printable(task.description))


def _excuse(baseline: Path, known: Baseline, sifted: Sifted[Reported], reason: str, until: date) -> None:
    replace_private(baseline, dump_baseline(known, sifted.open, reason, until).encode())


def _render(out: Console, section: Section, sifted: Sifted[Reported]) -> None:
    if sifted.open:
        columns = ("source", "column or line", "info type", "rule", "cells", "ratio", "confidence", "because")
        table(out, columns, map(_row, sifted.open))
    for excuse in sifted.expired:
        line(out, f"The excuse for {excuse.rule} ({excuse.fingerprint[:8]}) ended on {excuse.expires}.")
    for excuse in sifted.unused:
        line(out, f"The excuse for {excuse.rule} ({excuse.fingerprint[:8]}) excuses nothing: remove it.")
    if section.skipped:
        table(out, ("skipped", "because"), [(each.source, each.reason) for each in section.skipped])
    secret = sum(_is_secret(each.info_type) for each in sifted.open)
    line(
        out,
        f"{len(sifted.open)} findings ({secret} secrets) in {len(section.scanned)} sources; "
        f"{len(sifted.excused)} excused, {len(section.skipped)} skipped.",
    )


def _row(finding: Reported) -> tuple[Any, ...]:
    place = finding.column if finding.column is not None else ", ".join(map(str, _lines(finding)))
    ratio = f"{finding.ratio:.0%}" if finding.ratio is not None else None
    confidence, because = f"{finding.confidence:.2f}", "; ".join(finding.reasons)
    return finding.source, place, finding.info_type, finding.rule, finding.rows, ratio, confidence, because


def _lines(finding: Reported) -> list[Any]:
    """The first lines in which it is."""
    lines = list(dict.fromkeys(span.line for span in finding.spans))
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], "…"]


_SHOWN: Final = 5


def _repository(path: Path) -> Path:
    folder = path.absolute()
    for root in (folder, *folder.parents):
        if (root / ".git").exists():
            return root
    raise UsageError(f"{path} is in no git repository", "Name a folder in one, or use: scan PATH.")


COMMANDS: Final = {"scan": scan}
