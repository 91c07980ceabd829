"""Rows leave as CSV that no spreadsheet executes: to standard output, or into a new private file."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from secure_platform.cli.output import cannot_write, print_lines
from secure_platform.errors import StorageError
from secure_platform.files import write_private
from secure_platform.spreadsheet import csv_lines, csv_text


def print_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as CSV on standard output."""
    print_lines(csv_lines(columns, rows))


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write rows as CSV into a new 0600 file, whole or not at all.

    Raises:
        StorageError: If the disk is full or failing.
        UsageError: If it cannot be written for another reason.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_private(temporary, csv_text(columns, rows).encode())
        os.link(temporary, path)
    except OSError as error:
        raise StorageError.behind(f"Writing {path}", error) or cannot_write(path, error.strerror) from None
    finally:
        temporary.unlink(missing_ok=True)
