"""A folder is walked in one order, whatever the disk says; nothing outside is read, no file skipped silently.

Links are not followed, and a file is read through the descriptor that was checked to be a regular file. What
is in archives is read as if it were unpacked.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from secure_platform.errors import UsageError
from secure_platform.scan.secrets.archives import Budget, entries
from secure_platform.scan.secrets.findings import SecretFinding
from secure_platform.scan.secrets.ignored import Ignored
from secure_platform.scan.secrets.scanner import BLOCK, SecretScanner, is_binary

LARGEST: Final = 256 << 20
DEEPEST: Final = 200
_UNREADABLE: Final = "cannot be read"
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
    scanner: SecretScanner,
    root: Path,
    report: TreeReport,
    *,
    prefix: str = "",
    ignored: bool = False,
    largest: int = LARGEST,
) -> None:
    """Look for secrets in a file, or in every file of a folder.

    Args:
        scanner: What to look with.
        root: The file or folder.
        report: What is found is added to it.
        prefix: Comes before the paths of files in a folder, in findings; or is the name of the file.
        ignored: Whether to read what `.gitignore` files leave out.
        largest: Bytes of the largest file that is read.

    Raises:
        UsageError: If the root is neither a file nor a folder.
    """
    for path in _paths(root, ignored=ignored):
        if isinstance(path, Skipped):
            report.skipped.append(Skipped(prefix + path.path, path.why))
            continue
        try:
            with _opened(root / path, largest) as stream:
                _scan(scanner, stream, prefix + path, report)
        except _SkippedError as reason:
            report.skipped.append(Skipped(prefix + path, str(reason)))
        except OSError:
            report.skipped.append(Skipped(prefix + path, _UNREADABLE))


def _scan(scanner: SecretScanner, stream: BinaryIO, name: str, report: TreeReport) -> None:
    for entry in entries(stream, name, Budget()):
        why = entry.why
        if entry.stream is not None:
            report.findings += scanner.path(entry.path)
            why = "binary" if is_binary(entry.stream.read(BLOCK)) else ""
            entry.stream.seek(0)
        if why or entry.stream is None:
            report.skipped.append(Skipped(entry.path, why))
        else:
            report.findings += scanner.stream(entry.stream, entry.path)
            report.bytes += entry.stream.tell()
            report.files += 1


def _paths(root: Path, *, ignored: bool) -> Iterator[str | Skipped]:
    """The paths of files below the root; an empty one for the root itself, if it is a file."""
    if root.is_file():
        yield ""
    elif root.is_dir():
        yield from _below(root, "", (), ignored=ignored)
    else:
        raise UsageError(f"{root.name} is neither a file nor a folder", "Name something to scan.")


def _below(root: Path, folder: str, above: Sequence[Ignored], *, ignored: bool) -> Iterator[str | Skipped]:
    try:
        children = sorted(os.scandir(root / folder), key=lambda child: child.name)
    except OSError:
        yield Skipped(folder, _UNREADABLE)
        return
    rules = above if ignored else (*above, *_rules(root, folder))
    for entry in children:
        path = folder + entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.is_symlink():
            yield Skipped(path, "a link")
        elif (is_folder and entry.name == _GIT) or _is_ignored(rules, path, is_folder=is_folder):
            continue
        elif is_folder and path.count("/") >= DEEPEST:
            yield Skipped(path, "too deep")
        elif is_folder:
            yield from _below(root, f"{path}/", rules, ignored=ignored)
        else:
            yield path


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
