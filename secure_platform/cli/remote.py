"""The platform behind a server's API: no home, database or key of this machine is touched.

The token goes over verified TLS only, or to this machine. An error of the server ends the command with the
exit code it would have had there. A build belongs to the server: whoever stops watching does not stop it.
"""

import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import click
import httpx
import polars as pl

from secure_platform import errors
from secure_platform.access.tokens import read_token
from secure_platform.cli.local import Verb
from secure_platform.errors import AccessDeniedError, GateRefusedError, SecurePlatformError, UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.exchange import ARROW, AssetEvent, Listener, RunReport, read_record
from secure_platform.orchestration.steps.reveal import Asked, Revealed
from secure_platform.protect.reveal import CELL, VALUE

T = TypeVar("T")

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
ENDED: Final = frozenset({"succeeded", "failed", "canceled"})
CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 600.0
POLL_SECONDS: Final = 1.0
TRIES: Final = 5
_UNAUTHORIZED: Final = 401


class Server:
    """The API of one server, asked with one token.

    Args:
        url: Of the server, with its path prefix if it has one.
        token: Whose name things are done in.
        ca: PEM file of further certificate authorities.

    Raises:
        UsageError: If the URL would carry the token in the clear, or the file holds no authority.
    """

    def __init__(self, url: str, token: str, *, ca: Path | None = None) -> None:
        _require_safe(url)
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            verify=_trust(ca),
            trust_env=False,
            follow_redirects=False,
        )

    def close(self) -> None:
        """Release its connections."""
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        """What the server answers; tried again while it cannot be reached."""
        return self._patiently(lambda: self._json(self._ask("GET", path, params=query)))

    def post(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Any:
        """What the server answers; tried again only with an idempotency key."""
        headers = {"Idempotency-Key": key} if key else {}

        def once() -> Any:
            return self._json(self._ask("POST", path, json=body, headers=headers))

        return self._patiently(once, TRIES if key else 1)

    def rows(self, path: str, body: Mapping[str, Any]) -> pl.DataFrame:
        """A table, with its types."""
        headers = {"Accept": ARROW}
        answer = self._patiently(lambda: self._ask("POST", path, json=body, headers=headers), 1)
        if answer.headers.get("content-type") != ARROW:
            raise self._stranger(answer)
        return pl.read_ipc_stream(BytesIO(answer.content))

    def _patiently(self, ask: Callable[[], T], tries: int = TRIES) -> T:
        for remaining in reversed(range(tries)):
            try:
                return ask()
            except httpx.TransportError:
                if not remaining:
                    raise self._unreachable() from None
                time.sleep(POLL_SECONDS)
        raise self._unreachable()

    def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **arguments)
        except httpx.ConnectError as error:
            if isinstance(error.__cause__ and error.__cause__.__cause__, ssl.SSLError) or "SSL" in str(error):
                raise SecurePlatformError(
                    f"The certificate of {self.url} is refused", "Name who signed it with --ca."
                ) from None
            raise
        if answer.is_success:
            return answer
        raise self._refusal(answer)

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise self._stranger(answer) from None

    def _stranger(self, answer: httpx.Response) -> SecurePlatformError:
        return SecurePlatformError(
            f"{self.url} answered {answer.status_code}, but not as a secure_platform server does",
            "Check that it is a secure_platform server.",
        )

    def _unreachable(self) -> SecurePlatformError:
        return SecurePlatformError(f"{self.url} cannot be reached", "Check the URL, and that it is served.")

    def _refusal(self, answer: httpx.Response) -> SecurePlatformError:
        if answer.status_code == _UNAUTHORIZED:
            return AccessDeniedError(
                "The server does not accept the token", "Have an administrator issue another one."
            )
        try:
            problem = answer.json()
            kind, culprit, fix = problem.get("kind", ""), problem["error"], problem["fix"]
            code = problem.get("exit_code")
        except (ValueError, KeyError, AttributeError):
            return self._stranger(answer)
        return _named(str(kind), code)(str(culprit), str(fix))


class Remote:
    """The platform of one server; methods do what `Platform` says."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def requester(self) -> str:
        """Who the server takes us for."""
        return str(self._server.get("/me")["name"])

    def origin(self, product: str, source: Path | None) -> str:
        """The server: its settings say where the source is."""
        if source is not None:
            raise UsageError(
                "A server takes a source from its own settings only",
                f"Leave --source out to build {product}.",
            )
        return self._server.url

    def build(self, product: str, source: Path | None, listener: Listener) -> RunReport:
        """Start a build there, and watch it."""
        del source
        started = self._server.post("/builds", {"product": product}, key=secrets.token_urlsafe(16))
        run_id = str(started["run_id"])
        try:
            return self._watch(run_id, listener)
        except KeyboardInterrupt:
            click.echo(f"The build goes on: {self._server.url}/runs/{run_id}", err=True)
            raise

    def record(self, digest: str) -> ReleaseRecord:
        """From the API."""
        return read_record(self._review(digest)["release"])

    def releases(self, product: str | None) -> list[ReleaseRecord]:
        """From the API."""
        query = {} if product is None else {"product": product}
        return [read_record(data) for data in self._server.get("/releases", **query)]

    def base(self, product: str) -> str | None:
        """From the API."""
        base = self._product(product)["base"]
        return None if base is None else str(base)

    def unsaved_keys(self) -> list[str]:
        """None: a server's keys are backed up there."""
        return []

    def in_production(self, product: str) -> ReleaseRecord:
        """From the API."""
        record = self._product(product)["production"]
        if record is None:
            raise GateRefusedError(f"Nothing of {product} is in production", "Approve and deploy a release.")
        return read_record(record)

    def manifest(self, record: ReleaseRecord) -> Mapping[str, Any]:
        """From the API."""
        manifest: Mapping[str, Any] = self._review(record.digest)["manifest"]
        return manifest

    def signed(self, record: ReleaseRecord) -> Mapping[str, Any]:
        """From the API, which does not look at the payload either."""
        return self.manifest(record)

    def erased(self, record: ReleaseRecord) -> Mapping[str, Any] | None:
        """From the API; None too if the server is of an earlier version."""
        gone: Mapping[str, Any] | None = self._review(record.digest).get("erased")
        return gone

    def verify(self, record: ReleaseRecord) -> list[str]:
        """Done by the server."""
        return list(self._server.get(f"/releases/{record.digest}/verify")["tables"])

    def decide(
        self, verb: Verb, record: ReleaseRecord, *, base: str | None, reason: str, ticket: str | None
    ) -> ReleaseRecord:
        """In the name of the token's principal."""
        body = {"reason": reason, "ticket": ticket, **({"base": base} if verb == "approve" else {})}
        return read_record(self._server.post(f"/releases/{record.digest}/{verb}", body))

    def rollback(self, seen: ReleaseRecord, *, reason: str) -> ReleaseRecord:
        """In the name of the token's principal."""
        body = {"leave": seen.number, "reason": reason}
        return read_record(self._server.post(f"/products/{_word(seen.product)}/rollback", body))

    def query(self, product: str, sql: str, *, limit: int, purpose: str | None) -> pl.DataFrame:
        """In the name of the token's principal."""
        body = {"sql": sql, "limit": limit, "purpose": purpose}
        return self._server.rows(f"/production/{_word(product)}/query", body)

    def reveal(self, asked: Asked) -> Revealed:
        """In the name of the token's principal; what is asked about is in the body."""
        body = {name: value for name, value in vars(asked).items() if name != "product"}
        told = self._server.post(f"/products/{_word(asked.product)}/reveal", body)
        cells = [each[CELL] for each in told["revealed"]]
        # Of one type as JSON carries it: a number stays one, what it has no type for is text.
        values = pl.Series(VALUE, [each[VALUE] for each in told["revealed"]], strict=False)
        frame = pl.DataFrame([pl.Series(CELL, cells, pl.String), values])
        return Revealed(int(told["release"]), str(told["column"]), frame)

    def _product(self, product: str) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self._server.get(f"/products/{_word(product)}")
        return data

    def _review(self, digest: str) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self._server.get(f"/releases/{_word(digest)}")
        return data

    def _watch(self, run_id: str, listener: Listener) -> RunReport:
        events: list[AssetEvent] = []
        while True:
            state = self._server.get(f"/builds/{run_id}", after=len(events))
            for data in state["events"]:
                events.append(AssetEvent(**data))
                listener(events[-1])
            if state["state"] in ENDED:
                return RunReport(run_id, state["state"] == "succeeded", tuple(events))
            time.sleep(POLL_SECONDS)


def open_server(url: str, token_file: Path | None, ca: Path | None) -> Server:
    """The server, asked with the token in a file.

    Raises:
        UsageError: If no token file is named, or it does not hold a token.
    """
    if token_file is None:
        raise UsageError("The server needs a token", "Name its file with --token-file.")
    return Server(url, read_token(token_file), ca=ca)


def _require_safe(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.username or parts.query or parts.fragment or parts.scheme not in {"https", "http"}:
        raise UsageError("The server's URL cannot be used", "Name it like https://data.example.org/platform.")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise UsageError(
            f"The token would go to {host} in the clear", "Use https; only this machine is asked over http."
        )


def _trust(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError):
            raise UsageError(f"{ca} holds no certificate authority", "Name a PEM file with --ca.") from None
    return context


def _named(kind: str, code: Any) -> type[SecurePlatformError]:
    """The error's own class, else one that ends with the same exit code."""
    known = {
        name: found
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, SecurePlatformError)
    }
    same = (found for found in known.values() if found.exit_code == code)
    return known.get(kind) or next(same, SecurePlatformError)


def _word(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe=":")
