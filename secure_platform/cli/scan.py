"""`scan`: personal data and secrets in whatever is named, in one report that shows no value."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click

from secure_platform.cli.group import Group
from secure_platform.cli.output import example, json_option, print_json, require_new, show
from secure_platform.cli.scan_output import progress, render
from secure_platform.cli.scan_targets import Asked, sources
from secure_platform.errors import DataRefusedError, UsageError
from secure_platform.files import replace_private, write_private
from secure_platform.scan.columns import Scanner
from secure_platform.scan.page import page
from secure_platform.scan.report import Reported, Section, document, is_secret
from secure_platform.scan.sarif import sarif
from secure_platform.scan.secrets.baseline import Baseline, Sifted, dump_baseline, load_baseline, sift
from secure_platform.scan.secrets.document import load_rules, own_rules
from secure_platform.scan.secrets.rules import RuleSet
from secure_platform.scan.secrets.scanner import SecretScanner
from secure_platform.scan.sources.database import Wanted
from secure_platform.scan.sources.inspection import Inspection
from secure_platform.scan.sources.work import State, work
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import info_types

BASELINE: Final = ".secure-platform-secrets.yaml"
FOUND: Final = DataRefusedError.exit_code
_PATHS: Final = "paths"
_DAYS: Final = 90
_ALL: Final = "all"
_SECRETS: Final = "secrets"


class _Group(Group):
    """`scan PATH` is `scan paths PATH`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [_PATHS, *args])


_EXAMPLES: Final = (
    "scan patients.csv exports/ --html report.html",
    "scan s3://bucket/landing --json",
    "scan --url secret://env/DATABASE_URL --schema public",
    "--token-file me.token scan healthcare/patients --zone raw",
    "scan repo --sarif",
)


@click.group(cls=_Group, epilog=example(*_EXAMPLES))
def scan() -> None:
    """Look for personal data and secrets: anywhere with `scan TARGET…`, in code with `scan repo`.

    See: secure-platform scan paths --help
    """


def _find(default: str) -> Callable[[Any], Any]:
    return click.option(
        "--find",
        type=click.Choice([_ALL, "pii", _SECRETS]),
        default=default,
        show_default=True,
        help="What to look for.",
    )


def _options(command: Any) -> Any:
    for option in (
        click.option(
            "--fail-on",
            type=click.Choice(list(_FAILING)),
            default="confidential",
            show_default=True,
            help="How sensitive a finding must be to make the exit code 3.",
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


def _at_least(classification: Classification) -> Callable[[str], bool]:
    return lambda info_type: info_types()[info_type].classification >= classification


_FAILING: Final[Mapping[str, Callable[[str], bool]]] = {
    "any": lambda _: True,
    "confidential": _at_least(Classification.CONFIDENTIAL),
    "restricted": _at_least(Classification.RESTRICTED),
    _SECRETS: is_secret,
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
@_find(_ALL)
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
    """Look for personal data and secrets in files, folders, archives or s3://BUCKET/PREFIX.

    CSV, Parquet, JSON, workbooks and SQLite are scanned as tables, everything else as text. Exits 3 if
    something confidential was found that the baseline does not excuse (see --fail-on), else 0. What could not
    be read is listed as skipped. A line with the words secure-platform:allow is left out of the search for
    secrets.
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
    return _scan(asked, _Options(**options))


@scan.command("repo", epilog=example("scan repo --sarif", "scan repo ../other --find all"))
@click.argument("path", default=".", type=click.Path(path_type=Path))
@_find(_SECRETS)
@_options
def scan_repo(path: Path, **options: Any) -> int:
    """Look for secrets in the git repository around PATH.

    With --find all, for personal data too. It reads the working tree, not the history. Known findings are in
    .secure-platform-secrets.yaml at its root, unless --baseline names another file.
    """
    root = _repository(path)
    kept = root / BASELINE
    if kept.exists() or options["excuse"]:
        options["baseline"] = options["baseline"] or kept
    asked = Asked(roots=((root, ""),), ignored=options.pop("ignored"))
    return _scan(asked, _Options(**options))


@dataclass(frozen=True)
class _Options:
    """What both commands take."""

    find: str
    fail_on: str
    rules: Path | None
    baseline: Path | None
    excuse: str | None
    days: int
    resume: Path | None
    html: Path | None
    as_table: bool
    as_sarif: bool
    as_json: bool

    def check(self) -> None:
        """Refuse what cannot be done before the work is."""
        if self.as_table + self.as_sarif + self.as_json > 1:
            raise UsageError("--table, --sarif and --json exclude each other", "Ask for one of them.")
        if self.excuse and self.baseline is None:
            raise UsageError("--excuse needs a file to write to", "Name it with --baseline.")
        if self.html is not None:
            require_new(self.html)

    def is_known(self) -> bool:
        """Whether there is a baseline; one that is to be written may not be there yet."""
        return self.baseline is not None and not (self.excuse and not self.baseline.exists())

    def known(self) -> Baseline:
        """The baseline that is there, or a new one."""
        return load_baseline(self.baseline) if self.baseline is not None and self.is_known() else Baseline()

    def has(self, finding: Reported) -> bool:
        """Whether such findings are looked for."""
        return self.find == _ALL or (self.find == _SECRETS) == is_secret(finding.info_type)


def _scan(asked: Asked, options: _Options) -> int:
    options.check()
    ruleset = load_rules(options.rules) if options.rules else own_rules()
    known, state = options.known(), None
    if options.resume is not None:
        state = State(options.resume, _about(options), known.key if options.is_known() else None)
        known = replace(known, key=state.key)
    section = _found(asked, options, ruleset, known.key, state)
    section.findings = list(filter(options.has, section.findings))
    today = datetime.now(UTC).date()
    sifted = sift(section.findings, known.excuses, today)
    if options.excuse and options.baseline is not None:
        until = today + timedelta(days=options.days)
        excused = dump_baseline(known, sifted.open, options.excuse, until)
        replace_private(options.baseline, excused.encode())
        sifted = sift(section.findings, load_baseline(options.baseline).excuses, today)
    _tell(section, sifted, options, ruleset)
    return FOUND if any(map(_FAILING[options.fail_on], (each.info_type for each in sifted.open))) else 0


def _tell(section: Section, sifted: Sifted[Reported], options: _Options, ruleset: RuleSet) -> None:
    told = document(section, sifted)
    if options.html is not None:
        write_private(options.html, page(told, made=datetime.now(UTC)).encode())
    if options.as_sarif:
        print_json(sarif(sifted.open, ruleset, version("secure-platform")))
    else:
        show(told, as_json=options.as_json, render=lambda out: render(out, section, sifted))


def _found(asked: Asked, options: _Options, ruleset: RuleSet, key: bytes, state: State | None) -> Section:
    types = info_types()
    personal = {name: kind for name, kind in types.items() if not is_secret(name)}
    inspection = Inspection(
        Scanner(types),
        SecretScanner(ruleset, key),
        TextScanner(personal) if options.find != _SECRETS else None,
        key,
        own_rules=options.rules is not None,
    )
    whole = Section()
    with ExitStack() as stack, progress() as tell:
        for section in work(sources(asked, stack), inspection, state, tell):
            whole.add(section)
    return whole


def _about(options: _Options) -> str:
    """What a result depends on beside its sources."""
    rules = options.rules.read_bytes() if options.rules else b""
    said = f"{version('secure-platform')} {options.find == _SECRETS}\0".encode()
    return hashlib.sha256(said + rules).hexdigest()


def _repository(path: Path) -> Path:
    folder = path.absolute()
    for root in (folder, *folder.parents):
        if (root / ".git").exists():
            return root
    raise UsageError(f"{path} is in no git repository", "Name a folder in one, or use: scan PATH.")


COMMANDS: Final = {"scan": scan}
