"""A folder is walked in one order, whatever the disk says; nothing outside is read, no file skipped silently.

Links are not followed, and what `.gitignore` files leave out is left out unless it is asked for.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from secure_platform.errors import UsageError
from secure_platform.scan.report import Skipped
from secure_platform.scan.sources.documents import UNREADABLE, FileDocument, SkippedError
from secure_platform.scan.sources.ignored import Ignored

DEEPEST: Final = 200
_GIT: Final = ".git"
_IGNORE: Final = ".gitignore"
_LARGEST_RULES: Final = 4 << 20


def files(root: Path, *, prefix: str = "", ignored: bool = False) -> Iterator[FileDocument | Skipped]:
    """A file, or every file of a folder.

    Args:
        root: The file or folder.
        prefix: Comes before the paths of files in a folder; or is the name of the file.
        ignored: Whether to read what `.gitignore` files leave out.

    Raises:
        UsageError: If the root is neither a file nor a folder.
    """
    for path in _paths(root, ignored=ignored):
        if isinstance(path, Skipped):
            yield Skipped(prefix + path.source, path.reason)
            continue
        try:
            yield FileDocument(root / path, prefix + path)
        except SkippedError as reason:
            yield Skipped(prefix + path, str(reason))


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
        yield Skipped(folder, UNREADABLE)
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
            with FileDocument(root / folder / place, place).open() as stream:
                text = stream.read(_LARGEST_RULES).decode(errors="surrogateescape")
        except (SkippedError, OSError):
            continue
        yield Ignored.parse(folder, text)


def _is_ignored(rules: Sequence[Ignored], path: str, *, is_folder: bool) -> bool:
    for each in reversed(rules):
        decision = each.decision(path, is_folder=is_folder)
        if decision is not None:
            return decision
    return False
