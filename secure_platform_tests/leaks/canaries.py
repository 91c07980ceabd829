"""Values that nobody else would write, in every kind of column and every key, and how they are recognised.

A canary is recognised by a core of letters or digits that quoting, escaping for JSON, SQL or URLs and
capitalisation leave as they are, in each encoding of text, in Base64, in hexadecimal, and, where the column
is typed, in the binary forms of Arrow, Parquet and DuckDB. Every random and every derived key, and every
token, of a program in which `plant_in_keys` was called begins with the same bytes.
"""

import base64
import csv
import json
import secrets
import shutil
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secure_platform.keys import material
from secure_platform.sample.generate import generate

Row = dict[str, str]

TEXTS: Final = {
    "name": "Zyzzyvagne777",
    "family name": "Yxq\u00dfbrunnhilde",
    "ssn": "999-77-4242",
    "driver's licence": "S99977424",
    "street": "42 Quuxberryvale Lane, \u201cback house\u201d",
    "free text": "patient said: call my wife Xanthippequist at noon",
    "kept text": "Disorder of the canarywortgland (finding)",
}
CORES: Final = {
    "name": "Zyzzyvagne",
    "family name": "brunnhilde",
    "ssn": "999-77-4242",
    "ssn digits": "999774242",
    "driver's licence": "S99977424",
    "street": "Quuxberryvale",
    "free text": "Xanthippequist",
    "kept text": "canarywortgland",
}
EXPENSES: Final = "918273.64"
LATITUDE: Final = "41.7182736"
TOTAL: Final = 4_182_736_459
"""The sum of a column that is told with noise only; no value of it is in a cell."""
MOMENT: Final = datetime(2013, 3, 14, 5, 9, 26, tzinfo=UTC)
BORN: Final = "1931-07-19"
KEY: Final = bytes.fromhex("a0a18081b5b7aaaacad0b2b4")
KEY_LABEL: Final = "key"
KEY_BYTES: Final = 32
OPEN: Final = b"secure-platform/commit"
"""What is derived for this purpose names a key and may be read by everybody."""


def needles() -> dict[str, bytes]:
    """Label → bytes that must be nowhere."""
    found = {
        f"{label} as {spelling}": needle for label, core in CORES.items() for spelling, needle in _text(core)
    }
    for label, number in (("expenses", EXPENSES), ("latitude", LATITUDE)):
        found |= {f"{label} as {spelling}": needle for spelling, needle in _number(number)}
    found |= {f"total as {spelling}": needle for spelling, needle in _total()}
    seconds = int(MOMENT.timestamp())
    found |= {
        f"moment as {unit}": struct.pack("<q", seconds * scale)
        for unit, scale in (("ms", 10**3), ("us", 10**6), ("ns", 10**9))
    }
    found |= {
        f"moment as {text}": text.encode()
        for text in (MOMENT.strftime("%Y-%m-%dT%H:%M:%S"), MOMENT.strftime("%Y-%m-%d %H:%M:%S"))
    }
    found |= {f"{KEY_LABEL} as {spelling}": needle for spelling, needle in _bytes(KEY)}
    return found | {"date of birth": BORN.encode()}


def _text(core: str) -> Iterator[tuple[str, bytes]]:
    for cased in {core, core.lower(), core.upper()}:
        plain = cased.encode()
        yield f"{cased} in UTF-8", plain
        # Without the last byte's zeros, little and big endian look the same.
        yield f"{cased} in UTF-16", cased.encode("utf-16-le").rstrip(b"\0")
        yield f"{cased} in UTF-32", cased.encode("utf-32-le").rstrip(b"\0")
    yield from _coded(core.encode())


def _coded(plain: bytes) -> Iterator[tuple[str, bytes]]:
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + plain)
        # The first and last characters also carry bits of the neighbours.
        yield f"Base64 at {shift}", coded[-(-shift * 4 // 3) : len(plain + b"\0" * shift) * 4 // 3 - 1]
    yield "hexadecimal", plain.hex().encode()
    yield "capital hexadecimal", plain.hex().upper().encode()


def _bytes(plain: bytes) -> Iterator[tuple[str, bytes]]:
    yield "bytes", plain
    yield from _coded(plain)
    yield "Python shows bytes", repr(plain)[2:-1].encode()
    yield "JSON shows bytes", json.dumps(plain.decode("latin-1"))[1:-1].encode()
    yield "numbers", str(list(plain))[1:-1].encode()


def plant_in_keys() -> None:
    """From now on every key that this process makes or derives begins with the canary."""
    token_bytes = secrets.token_bytes

    def planted(count: int | None = None) -> bytes:
        found = token_bytes(count)
        return KEY + found[len(KEY) :] if count == KEY_BYTES else found

    class Planted:
        def __init__(self, *, info: bytes, **options: Any) -> None:
            self._real, self._open = HKDF(info=info, **options), info.startswith(OPEN)

        def derive(self, key: bytes) -> bytes:
            found = self._real.derive(key)
            return found if self._open else KEY + found[len(KEY) :]

    patch.object(secrets, "token_bytes", planted).start()
    patch.object(material, "HKDF", Planted).start()


def _number(text: str) -> Iterator[tuple[str, bytes]]:
    yield "UTF-8", text.encode()
    yield "UTF-16", text.encode("utf-16-le").rstrip(b"\0")
    yield "float", struct.pack("<d", float(text))
    yield "decimal", struct.pack("<q", int(text.replace(".", "")))


def _total() -> Iterator[tuple[str, bytes]]:
    yield "UTF-8", str(TOTAL).encode()
    yield "with commas", f"{TOTAL:,}".encode()
    yield "float", struct.pack("<d", float(TOTAL))
    yield "integer", struct.pack("<q", TOTAL)


def plant_in_patient(row: Row) -> Row:
    """The canaries of a person."""
    return {
        **row,
        "BIRTHDATE": BORN,
        "DEATHDATE": "",
        "SSN": TEXTS["ssn"],
        "DRIVERS": TEXTS["driver's licence"],
        "FIRST": TEXTS["name"],
        "LAST": TEXTS["family name"],
        "ADDRESS": TEXTS["street"],
        "LAT": LATITUDE,
        "HEALTHCARE_EXPENSES": EXPENSES,
    }


def plant_in_encounter(row: Row) -> Row:
    """A moment that is only told by its year."""
    return {**row, "START": MOMENT.strftime("%Y-%m-%dT%H:%M:%SZ"), "STOP": ""}


def plant_in_condition(row: Row) -> Row:
    """A text that is kept, with about every second patient: production may hold it, nothing else in clear."""
    if int(row["PATIENT"][0], 16) % 2:
        return row
    return {**row, "DESCRIPTION": TEXTS["kept text"], "CODE": "424242"}


def plant_in_observation(row: Row) -> Row:
    """A free text."""
    return {**row, "VALUE": TEXTS["free text"], "UNITS": "", "TYPE": "text"}


PLANTS: Final = {
    "patients": plant_in_patient,
    "encounters": plant_in_encounter,
    "conditions": plant_in_condition,
    "observations": plant_in_observation,
}


def write_source(directory: Path, *, patients: int = 30) -> Path:
    """The sample with canaries in every row."""
    generate(directory, patients=patients)
    for dataset, plant in PLANTS.items():
        rewrite(directory / f"{dataset}.csv", plant)
    return directory


def rewrite(path: Path, change: Callable[[Row], Row]) -> None:
    """Change every row of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [change(row) for row in csv.DictReader(file)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def spoil_source(source: Path, directory: Path) -> Path:
    """A copy that is refused in many ways: bad values, a torn line, no header, bytes that are no text."""
    shutil.copytree(source, directory, dirs_exist_ok=True)
    rewrite(directory / "patients.csv", _spoil_patient)
    with (directory / "conditions.csv").open("a", encoding="utf-8") as file:
        file.write(f'{TEXTS["name"]},"{TEXTS["street"]}\n')
    encounters = directory / "encounters.csv"
    first = ",".join([*TEXTS.values()]).replace("\u201c", "").replace("\u201d", "")
    encounters.write_text(f"{first}\n{encounters.read_text(encoding='utf-8')}", encoding="utf-8")
    with (directory / "observations.csv").open("ab") as file:
        file.write(TEXTS["free text"].encode("utf-16"))
    return directory


def _spoil_patient(row: Row) -> Row:
    return {
        **row,
        "BIRTHDATE": f"not a date but {TEXTS['name']}",
        "GENDER": TEXTS["ssn"],
        "LAT": TEXTS["street"],
        "HEALTHCARE_EXPENSES": TEXTS["free text"],
    }
