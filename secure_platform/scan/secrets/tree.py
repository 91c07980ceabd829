"""A folder is walked in one order, whatever the disk says; nothing outside is read, no file skipped silently.

Links are not followed, and a file is read through the descriptor that was checked to be a regular file.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from secure_platform.errors import UsageError
from secure_platform.scan.secrets.findings import SecretFinding
from secure_platform.scan.secrets.ignored import Ignored
from secure_platform.scan.secrets.scanner import BLOCK, SecretScanner, is_binary

LARGEST: Final = 256 << 20
DEEPEST: Final = 200
_GIT: Final = ".git"
_IGNORE: Final = ".gitignore"
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Skipped:
    """A path that was not read, and why."""

    path: str
    why: str


@dataclass
class TreeReport:
    """What was found in a folder, and what was not looked at."""

    findings: list[SecretFinding] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    files: int = 0
    bytes: int = 0


class _SkippedError(Exception):
    """Carries the reason."""


def scan_tree(
    scanner: SecretScanner, root: Path, *, ignored: bool = False, largest: int = LARGEST
) -> TreeReport:
    """Look for secrets in a file, or in every file of a folder.

    Args:
        scanner: What to look with.
        root: The file or folder.
        ignored: Whether to read what `.gitignore` files leave out.
        largest: Bytes of the largest file that is read.

    Raises:
        UsageError: If the root is neither a file nor a folder.
    """
    report = TreeReport()
    for path in _paths(root, report, ignored=ignored):
        name = path.relative_to(root).as_posix() if path != root else path.name
        try:
            with _opened(path, largest) as stream:
                report.findings += scanner.stream(stream, name)
                report.bytes += stream.tell()
            report.files += 1
        except _SkippedError as reason:
            report.skipped.append(Skipped(name, str(reason)))
        except OSError:
            report.skipped.append(Skipped(name, "cannot be read"))
    return report


def _paths(root: Path, report: TreeReport, *, ignored: bool) -> Iterator[Path]:
    if root.is_file():
        yield root
    elif root.is_dir():
        yield from _below(root, "", (), report, ignored=ignored)
    else:
        raise UsageError(f"{root.name} is neither a file nor a folder", "Name something to scan.")


def _below(
    root: Path, folder: str, above: Sequence[Ignored], report: TreeReport, *, ignored: bool
) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
    except OSError:
        report.skipped.append(Skipped(folder, "cannot be read"))
        return
    rules = above if ignored else (*above, *_rules(root, folder))
    for entry in entries:
        path = folder + entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.is_symlink():
            report.skipped.append(Skipped(path, "a link"))
        elif (is_folder and entry.name == _GIT) or _is_ignored(rules, path, is_folder=is_folder):
            continue
        elif is_folder and path.count("/") >= DEEPEST:
            report.skipped.append(Skipped(path, "too deep"))
        elif is_folder:
            yield from _below(root, f"{path}/", rules, report, ignored=ignored)
        else:
            yield root / path


def _rules(root: Path, folder: str) -> Iterator[Ignored]:
    places = [_IGNORE] if folder else [".git/info/exclude", _IGNORE]
    for place in places:
        try:
            with _opened(root / folder / place, BLOCK) as stream:
                yield Ignored.parse(folder, stream.read().decode(errors="surrogateescape"))
        except (_SkippedError, OSError):
            continue


def _is_ignored(rules: Sequence[Ignored], path: str, *, is_folder: bool) -> bool:
    for each in reversed(rules):
        decision = each.decision(path, is_folder=is_folder)
        if decision is not None:
            return decision
    return False


def _opened(path: Path, largest: int) -> BinaryIO:
    descriptor = os.open(path, _READ)
    stream = os.fdopen(descriptor, "rb")
    try:
        _check(stream, largest)
    except BaseException:
        stream.close()
        raise
    return stream


def _check(stream: BinaryIO, largest: int) -> None:
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise _SkippedError("not a regular file")
    if status.st_size > largest:
        raise _SkippedError("too large")
    if is_binary(stream.read(BLOCK)):
        raise _SkippedError("binary")
    stream.seek(0)
