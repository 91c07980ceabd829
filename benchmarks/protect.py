"""Every transform on a column of its own, beside what is copied from tutorials: one call for each cell.

A column is taken as the protect step takes it, in one streaming query over all cores. Peers get fewer rows:
each of their cells costs the same.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import polars as pl
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from benchmarks import peers as tools
from benchmarks.bench import Bench, Figure
from benchmarks.data import SEED
from benchmarks.measure import Stopwatch
from secure_platform.audit.log import AuditLog
from secure_platform.audit.seals import SealWitness
from secure_platform.contract.model import DTYPES
from secure_platform.control.database import ControlDatabase
from secure_platform.keys.book_states import BookStates
from secure_platform.keys.material import CellKey, TokenKey
from secure_platform.keys.signing import LogSigner
from secure_platform.keys.stored_tokens import StoredTokens
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.transforms import TRANSFORMS
from secure_platform.protect.vault import VAULT

FERNET: Final = "Fernet, cell by cell"
COPY: Final = "a plain copy of the column"
Cost = tuple[float, float]
"""Wall and CPU nanoseconds a row."""
NANOSECONDS: Final = 1e9
PEER_ROWS: Final = 50
"""A peer gets one row in so many."""
HALF: Final = 50
TARGETS: Final = {"tokenize": 150.0, "encrypt.deterministic": 250.0, "fpe": 500.0}
"""Nanoseconds a row."""
TIMES_FERNET: Final = 50.0
TIMES_PRESIDIO: Final = 500.0
PRESIDIO_ROWS: Final = 500
"""Presidio gets one row in so many."""
PARAMS: Final[dict[str, str | int | float]] = {
    "width": 10,
    "amount": 10,
    "step": 1,
    "lowest": 10,
    "highest": 90,
    "keep_last": 4,
    "value": "[CREDIT_CARD]",
    "as_of": "2026-01-01",
    "pattern": "^[0-9]{16}$",
    "symbols": "0123456789",
    "values": '{"4111111111111111":"a card"}',
    "types": "{}",
    "as": "name",
    "locale": "en_US",
}
OWN_COLUMNS: Final = {"scrub": "prose", "members": "json"}
"""What is not done to the same sixteen digits; in Python for each cell, so that fewer rows are enough."""


def run(bench: Bench) -> list[Figure]:
    """Nanoseconds a row of each transform and of each peer."""
    rows = bench.scale.protect_rows
    bench.say(f"generating {rows:,} rows")
    _write(bench.folder / "columns.parquet", rows)
    measured = bench.measure(f"transforms, {rows:,} rows", "protect:transforms", folder=str(bench.folder))
    own, peers = measured.detail["own"], measured.detail["peers"]
    presidio = _presidio(bench)
    figures = [
        figure
        for name, (wall, cpu) in {**own, **peers, **presidio}.items()
        for figure in (
            Figure(name, wall, "ns/row", target=TARGETS.get(name)),
            Figure(name, cpu, "ns/row of CPU"),
        )
    ]
    against = {FERNET: TIMES_FERNET} | dict.fromkeys(presidio, TIMES_PRESIDIO)
    return figures + [
        Figure(
            f"{name}, faster", {**peers, **presidio}[peer][0] / own[name][0], "x", peer, times, at_least=True
        )
        for peer, times in against.items()
        for name in ("tokenize", "encrypt.deterministic")
    ]


def _presidio(bench: Bench) -> dict[str, Cost]:
    """Presidio's encryption (AES-CBC): told what each cell is, and finding it out as its users do."""
    if not tools.installed():
        bench.say("Presidio is not installed (make peers): left out")
        return {}
    cells = pl.read_parquet(bench.folder / "columns.parquet")["string"].gather_every(PRESIDIO_ROWS).to_list()
    asked: dict[str, tuple[str, Any]] = {
        "presidio-anonymizer, encrypt": ("presidio_anonymizer", cells),
        "presidio-analyzer and -anonymizer, encrypt": ("presidio_search_and_encrypt", cells),
        "presidio-structured, encrypt": ("presidio_structured_encrypt", {"card": cells}),
    }
    scale = NANOSECONDS / len(cells)
    answers = {name: tools.ask(peer, data) for name, (peer, data) in asked.items()}
    return {name: (answer.wall * scale, answer.cpu * scale) for name, answer in answers.items()}


def transforms(watch: Stopwatch, folder: str) -> dict[str, Any]:
    """Wall and CPU nanoseconds a row of each transform, and of each peer."""
    columns = pl.read_parquet(Path(folder) / "columns.parquet")
    with watch:
        own = {name: _transform(columns, name) for name in TRANSFORMS if name != VAULT}
        own |= _stored(columns, Path(folder))
        own |= {
            f"tokenize as {form}": _transform(columns, "tokenize", format=form) for form in ("base32", "uuid")
        }
        own |= {"fpe of card numbers": _transform(columns, "fpe", checksum="luhn")}
    peers = _peers(columns["string"].gather_every(PEER_ROWS))
    return {"own": own, "peers": peers | _queries(columns, Path(folder))}


def _write(path: Path, rows: int) -> None:
    draw = np.random.default_rng(SEED)
    days = pl.Series(draw.integers(0, 20_000, rows), dtype=pl.Int32).cast(pl.Date)
    pl.DataFrame(
        {
            "string": pl.Series(draw.integers(10**15, 10**16, rows)).cast(pl.String),
            "integer": draw.integers(0, 100, rows),
            "number": draw.random(rows),
            "date": days,
            "timestamp": days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "row": pl.Series(range(rows)).cast(pl.String),
            "prose": pl.Series(_prose(draw.integers(0, 10**6, rows).tolist())),
            "json": pl.Series(
                f'{{"name": "n{n}", "visits": [{{"day": "2024-01-01"}}], "x": 1}}' for n in range(rows)
            ),
        }
    ).write_parquet(path)


def _transform(columns: pl.DataFrame, name: str, **more: str) -> Cost:
    transform = TRANSFORMS[name]
    kinds = {kind: dtype for kind, dtype in DTYPES.items() if dtype in transform.outputs}
    kind: str
    kind, dtype = next(iter(kinds.items()))
    if name in OWN_COLUMNS:
        kind, columns = OWN_COLUMNS[name], columns.gather_every(PEER_ROWS)
    mode = name.partition(".")[2]
    key = CellKey(1, bytes(range(64))) if transform.key == "cell" else TokenKey(1, bytes(range(32)))
    others = {"subject": pl.col("row"), "row": pl.col("row"), "when": pl.col("integer") < HALF}
    parts = {"then": pl.col(kind), "otherwise": pl.when(pl.lit(value=False)).then(pl.col(kind))}
    if name == "members":
        parts = {path: pl.col(path) for path in ("$.name", "$.visits.day")}
    inputs = Inputs(dtype, {**PARAMS, "mode": mode, **more}, key, "benchmark", others, parts=parts)
    query = columns.lazy().select(transform.build(pl.col(kind), inputs))
    return _cost(lambda: query.collect(engine="streaming"), columns.height)


def _stored(columns: pl.DataFrame, folder: Path) -> dict[str, Cost]:
    """Tokens that are drawn for every row, and found again by the next run."""
    database = ControlDatabase.at(folder / "control.db")
    database.migrate()
    signer = LogSigner("benchmark", bytes(32))
    log = AuditLog(folder / "audit.db", origin="benchmark", signer=signer, identify=lambda name: name)
    store = StoredTokens(database, BookStates(log, SealWitness(log, log.sealed_keys)))
    key = TokenKey(1, bytes(range(32)))
    params = {"format": "hex", "until": "2100-01-01"}

    def ask() -> None:
        inputs = Inputs(pl.String(), params, key, "vault:benchmark", store=store)
        columns.lazy().select(TRANSFORMS[VAULT].build(pl.col("string"), inputs)).collect(engine="streaming")

    drawn, again = (_cost(ask, columns.height) for _ in range(2))
    database.close()
    return {"vault, every value new": drawn, "vault, every value known": again}


def _prose(numbers: list[int]) -> list[str]:
    """One note in ten names an address, the others are words."""
    said = ("well", "tired", "better", "dizzy", "cold", "weak", "fine", "calm", "sad", "warm")
    return [
        f"called ann.{n}@example.com again, she feels {said[n % 7]}"
        if n % 10 == 0
        else f"feels {said[n % 10]} and {said[n // 10 % 10]}, goes home {said[n // 100 % 10]}"
        for n in numbers
    ]


def _queries(columns: pl.DataFrame, folder: Path) -> dict[str, Cost]:
    """What whole columns cost elsewhere: unkeyed in DuckDB, and written as they are."""
    texts = columns.select("string").to_arrow()
    connection = duckdb.connect()
    connection.register("texts", texts)
    md5 = _cost(
        lambda: connection.execute("SELECT md5(string) AS hashed FROM texts").to_arrow_table(), columns.height
    )
    text = columns.lazy().select("string")
    copy = _cost(lambda: text.sink_parquet(folder / "copy.parquet"), columns.height)
    return {"md5 in DuckDB, without a key": md5, COPY: copy}


def _peers(texts: pl.Series) -> dict[str, Cost]:
    """What a cell costs when each is a call of its own."""
    fernet, siv, gcm = Fernet(Fernet.generate_key()), AESSIV(bytes(64)), AESGCM(bytes(32))
    calls: dict[str, Callable[[bytes], bytes]] = {
        FERNET: fernet.encrypt,
        "AES-SIV, cell by cell": lambda cell: siv.encrypt(cell, [b"column"]),
        "AES-GCM, cell by cell": lambda cell: gcm.encrypt(secrets.token_bytes(12), cell, b"column"),
        "HMAC-SHA-256, cell by cell": lambda cell: hmac.digest(bytes(32), cell, "sha256"),
        "SHA-256 without a key, cell by cell": lambda cell: hashlib.sha256(cell).digest(),
    }
    return {name: _cost(partial(_each, texts, call), len(texts)) for name, call in calls.items()}


def _each(texts: pl.Series, call: Callable[[bytes], bytes]) -> pl.Series:
    return pl.Series([call(cell.encode()) for cell in texts], dtype=pl.Binary)


def _cost(work: Callable[[], Any], rows: int) -> Cost:
    watch = Stopwatch()
    with watch:
        work()
    return watch.wall / rows * NANOSECONDS, watch.cpu / rows * NANOSECONDS
