"""Known findings are named by fingerprint, with a reason and a day on which the excuse ends.

The file holds no secret, no value and no place where one is. It carries the key of its fingerprints: whoever
has it also has the files that it excuses, and whoever has a report alone can try no guess against that. An
entry past its day suppresses nothing, and one that suppressed nothing is told, so that the file does not rot.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import yaml

from secure_platform.errors import UsageError
from secure_platform.scan.secrets.findings import FINGERPRINT_DIGITS

SCHEMA: Final = "secure_platform/secrets-baseline/v1"
LONGEST_FILE: Final = 4 << 20
KEY_BYTES: Final = 32
_KEY: Final = re.compile(f"[0-9a-f]{{{2 * KEY_BYTES}}}")
_FINGERPRINT: Final = re.compile(f"[0-9a-f]{{{FINGERPRINT_DIGITS}}}")
_MEMBERS: Final = frozenset({"fingerprint", "rule", "reason", "expires"})
_FIX: Final = "Correct it: schema, marked_by and findings, each with fingerprint, rule, reason and expires."


class Marked(Protocol):
    """What a baseline knows a finding by."""

    @property
    def fingerprint(self) -> str:
        """Keyed digest of what was found, or of its place."""

    @property
    def rule(self) -> str:
        """What found it."""


Kept = TypeVar("Kept", bound=Marked)


@dataclass(frozen=True)
class Excuse:
    """One known finding.

    Attributes:
        reason: Why it is none, or who takes care of it until when.
        expires: The last day on which it is excused.
    """

    fingerprint: str
    rule: str
    reason: str
    expires: date


@dataclass(frozen=True)
class Baseline:
    """The known findings of one file.

    Attributes:
        key: Of the fingerprints.
    """

    key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES), repr=False)
    excuses: tuple[Excuse, ...] = ()


@dataclass(frozen=True)
class Sifted(Generic[Kept]):
    """Findings parted by a baseline.

    Attributes:
        open: What must be acted on.
        excused: What is known and still excused.
        expired: Excuses past their day whose finding is still there.
        unused: Excuses whose finding is gone.
    """

    open: tuple[Kept, ...]
    excused: tuple[Kept, ...]
    expired: tuple[Excuse, ...]
    unused: tuple[Excuse, ...]


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        UsageError: If anything in it is not understood.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{path.name} cannot be read as UTF-8 text", "Name a readable baseline.") from None
    return parse_baseline(text, path.name)


def parse_baseline(text: str, name: str) -> Baseline:
    """Read a baseline that is no file."""
    _require(len(text) <= LONGEST_FILE, name, "size")
    try:
        events = yaml.parse(text, Loader=yaml.CSafeLoader)
        aliased = any(isinstance(event, yaml.AliasEvent) for event in events)
        document: Any = None if aliased else yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f"{name} is not plain YAML", _FIX) from None
    _require(
        isinstance(document, dict) and set(document) == {"schema", "marked_by", "findings"},
        name,
        "document",
    )
    members: Mapping[str, Any] = document
    key, listed = members["marked_by"], members["findings"]
    _require(members["schema"] == SCHEMA, name, "schema")
    _require(isinstance(key, str) and _KEY.fullmatch(key) is not None, name, "marked_by")
    _require(isinstance(listed, list), name, "findings")
    excuses = tuple(_excuse(f"{name}, entry {n}", body) for n, body in enumerate(listed, 1))
    named = {(excuse.fingerprint, excuse.rule) for excuse in excuses}
    _require(len(named) == len(excuses), name, "a finding that is there twice")
    return Baseline(bytes.fromhex(key), excuses)


def dump_baseline(baseline: Baseline, findings: Iterable[Marked], reason: str, expires: date) -> str:
    """The baseline with more findings excused, for one reason and until one day."""
    known = {(excuse.fingerprint, excuse.rule): excuse for excuse in baseline.excuses}
    new = {(each.fingerprint, each.rule) for each in findings}
    known |= {(mark, rule): Excuse(mark, rule, reason, expires) for mark, rule in new}
    document = {
        "schema": SCHEMA,
        "marked_by": baseline.key.hex(),
        "findings": [asdict(known[each]) for each in sorted(known)],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def sift(findings: Iterable[Kept], excuses: Iterable[Excuse], today: date) -> Sifted[Kept]:
    """Part the findings: an excuse is for the same mark found by the same rule, until its day."""
    excuses = tuple(excuses)
    findings = tuple(findings)
    valid = {(each.fingerprint, each.rule) for each in excuses if each.expires >= today}
    found = {(finding.fingerprint, finding.rule) for finding in findings}
    return Sifted(
        open=tuple(each for each in findings if (each.fingerprint, each.rule) not in valid),
        excused=tuple(each for each in findings if (each.fingerprint, each.rule) in valid),
        expired=tuple(x for x in excuses if x.expires < today and (x.fingerprint, x.rule) in found),
        unused=tuple(x for x in excuses if (x.fingerprint, x.rule) not in found),
    )


def _excuse(name: str, body: Any) -> Excuse:
    _require(isinstance(body, dict) and set(body) == _MEMBERS, name, "members")
    fields: Mapping[str, Any] = body
    mark, expires = fields["fingerprint"], fields["expires"]
    _require(isinstance(mark, str) and _FINGERPRINT.fullmatch(mark) is not None, name, "fingerprint")
    _require(type(expires) is date, name, "expires")
    for key in ("rule", "reason"):
        _require(isinstance(fields[key], str) and bool(fields[key].strip()), name, key)
    return Excuse(mark, fields["rule"], fields["reason"], expires)


def _require(condition: bool, culprit: str, key: str) -> None:  # noqa: FBT001 - a guard, read as a sentence
    if not condition:
        raise UsageError(f"{culprit}: {key} is not acceptable", _FIX)
