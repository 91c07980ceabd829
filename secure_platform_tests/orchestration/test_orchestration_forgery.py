"""Somebody who can write into a home of real releases: verify, approve and deploy refuse and say why.

Release 1 is in production; release 2 waits. Every forgery is made to the package of release 2.
"""

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from built_home import PRODUCT, Built, built_release
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from secure_platform import canonical
from secure_platform.cli.main import run
from secure_platform.errors import SecurePlatformError
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.deploy import deploy, verified_package
from secure_platform.release.bundle import PAYLOAD_TYPE, pae, sign_statement
from secure_platform.release.layout import RELEASE_PREDICATE, release_predicate
from secure_platform.services import Services

pytestmark = pytest.mark.slow

TABLES = ("condition_prevalence", "encounter_facts", "patient_summary")
MANIFEST, SIGNATURE, CHECKPOINT = "manifest.json", "release.sigstore.json", "checkpoint.txt"
FILES = {
    f"2/{MANIFEST}": "Release healthcare/2",
    **{f"2/payload/{table}.parquet": "Release healthcare/2/payload" for table in TABLES},
    f"2.attestations/{SIGNATURE}": "Release healthcare/2's attestations",
    f"2.attestations/{CHECKPOINT}": "Release healthcare/2's attestations",
}
UNSIGNED = f"{SIGNATURE} of Release healthcare/2 is no signature over its {MANIFEST}: "
Forge = Callable[[Path], object]


class Forged:
    """One home whose release 2 waits for an approval, and one where it has it."""

    def __init__(self, waiting: Built, approved: Built) -> None:
        self.waiting = waiting
        self.approved = approved
        self.services = waiting.services
        self.deploying = approved.services
        self.pristine = waiting.root / "pristine"
        shutil.copytree(self.packages(waiting), self.pristine)

    @staticmethod
    def packages(built: Built) -> Path:
        return built.home / "releases" / PRODUCT

    def restore(self) -> None:
        for built in (self.waiting, self.approved):
            shutil.rmtree(self.packages(built))
            shutil.copytree(self.pristine, self.packages(built))

    def refused(self, forge: Forge) -> tuple[int, str]:
        """Forge the packages of both homes; the one exit code and culprit of all three refusals."""
        for built in (self.waiting, self.approved):
            forge(self.packages(built))
        record = self.services.gate.list(PRODUCT)[-1]
        with pytest.raises(SecurePlatformError) as verifying, verified_package(self.services, record):
            pass
        said = (verifying.value.exit_code, verifying.value.culprit)
        assert approve(self.waiting) == said
        assert self.services.gate.get(record.digest).state is ReleaseState.PENDING
        with pytest.raises(SecurePlatformError) as deploying:
            deploy(self.deploying, self.deploying.product(PRODUCT))
        assert (deploying.value.exit_code, deploying.value.culprit) == said
        production = self.deploying.target.current(PRODUCT)
        assert production is not None
        assert (production.number, production.sequence) == (1, 1)
        return said


def approve(built: Built) -> tuple[int, str]:
    """As a steward would, on the command line."""
    out = StringIO()
    words = ["--home", str(built.home), "--token-file", str(built.token("sam"))]
    with redirect_stdout(out), redirect_stderr(StringIO()):
        code = run([*words, "release", "approve", PRODUCT, "2", "--reason", "x", "--json"])
    return code, json.loads(out.getvalue())["culprit"]


@pytest.fixture(scope="module")
def both(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forged]:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("forgery")
        waiting = built_once.copy(root / "waiting")
        patch.setenv("SECURE_PLATFORM_HOME", str(waiting.home))
        patch.setenv("SECURE_PLATFORM_TOKEN_FILE", "")
        waiting.approve()
        deploy(waiting.services, waiting.product)
        built_release(waiting, "second")
        approved = waiting.copy(root / "approved")
        approved.approve()
        yield Forged(waiting, approved)


@pytest.fixture
def forged(both: Forged) -> Iterator[Forged]:
    yield both
    both.restore()


def flip(place: Callable[[int], int]) -> Forge:
    def flipped(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place(len(content))] ^= 1
        path.write_bytes(content)

    return flipped


def moved(path: Path) -> Path:
    """The file, out of the package; the same bytes are still at hand."""
    kept = path.parents[2] / f"kept-{path.name}"
    path.rename(kept)
    return kept


def as_folder(path: Path) -> None:
    moved(path)
    path.mkdir()


def as_pipe(path: Path) -> None:
    moved(path)
    os.mkfifo(path)


def partner(name: str) -> str:
    """Another file of the package, seen from the folder of this one."""
    if name == MANIFEST:
        return f"payload/{TABLES[0]}.parquet"
    if name in (SIGNATURE, CHECKPOINT):
        return CHECKPOINT if name == SIGNATURE else SIGNATURE
    return f"{TABLES[TABLES.index(name.removesuffix('.parquet')) - 1]}.parquet"


def swapped(path: Path) -> None:
    other = path.parent / partner(path.name)
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


BYTES = {
    MANIFEST: UNSIGNED + "The signed statement is about another subject",
    CHECKPOINT: f"{CHECKPOINT} of Release healthcare/2 is another audit checkpoint than it was signed with",
}
CONTENT: dict[str, Forge] = {
    "flipped at the start": flip(lambda _: 0),
    "flipped in the middle": flip(lambda size: size // 2),
    "flipped at the end": flip(lambda size: size - 1),
    "cut by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer by a byte": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "swapped": swapped,
}
PAYLOAD_SAYS = {
    "cut by a byte": "it has {less} bytes instead of {size}",
    "longer by a byte": "it has {more} bytes instead of {size}",
}
SHAPE: dict[str, tuple[Forge, str]] = {
    "empty": (lambda path: path.write_bytes(b""), "{folder}/{name} is empty"),
    "removed": (moved, "{folder} lacks {name}"),
    "renamed": (
        lambda path: path.rename(path.with_name("other")),
        "{folder} lacks {name} and holds 1 entries that do not belong to it: 'other'",
    ),
    "renamed in case": (
        lambda path: path.rename(path.with_name(path.name.upper())),
        "{folder} lacks {name} and holds 1 entries that do not belong to it: '{NAME}', {another} {name}",
    ),
    "a symbolic link": (
        lambda path: path.symlink_to(moved(path)),
        "{folder}/{name} is a symbolic link, not a plain file",
    ),
    "a hard link": (
        lambda path: path.hardlink_to(moved(path)),
        "{folder}/{name} is a hard link with a second name, not a plain file",
    ),
    "a folder": (
        as_folder,
        "{folder}/{name} is a folder, not a plain file",
    ),
    "a pipe": (
        as_pipe,
        "{folder}/{name} is a pipe, not a plain file",
    ),
    "a file beside it": (
        lambda path: path.with_name("stray").touch(),
        "{folder} holds 1 entries that do not belong to it: 'stray'",
    ),
    "a folder beside it": (
        lambda path: path.with_name("more").mkdir(),
        "{folder} holds 1 entries that do not belong to it: 'more'",
    ),
    "a name that differs in case": (
        lambda path: shutil.copyfile(path, path.with_name(path.name.title())),
        "{folder} holds 1 entries that do not belong to it: '{Name}', {another} {name}",
    ),
    "a decomposed name": (
        lambda path: path.with_name(f"n\u0303{path.name}").touch(),
        "{folder} holds 1 entries that do not belong to it: 'n\\u0303{name}'",
    ),
}


def expected(file: str, kind: str, both: Forged) -> str:
    name = Path(file).name
    if kind in SHAPE:
        words = {
            "another": "another spelling of",
            "name": name,
            "NAME": name.upper(),
            "Name": name.title(),
            "folder": FILES[file],
        }
        return SHAPE[kind][1].format(**words)
    if kind == "swapped" and name == CHECKPOINT:
        return UNSIGNED + "The bundle is not a strict JSON document: it is not JSON"
    if name in BYTES:
        return BYTES[name]
    if kind == "swapped":  # The first of the two is looked at first.
        name, other = sorted([name, partner(name)])
        what = f"it is the file of table {other.removesuffix('.parquet')}"
        return f"payload/{name} of Release healthcare/2 is not the one that was signed: {what}"
    size = (both.pristine / file).stat().st_size
    largest = max((both.pristine / f"2/payload/{each}.parquet").stat().st_size for each in TABLES)
    if kind == "longer by a byte" and size == largest:
        return f"{FILES[file]}/{name} is larger than it may be"
    what = PAYLOAD_SAYS.get(kind, "its bytes were changed").format(less=size - 1, more=size + 1, size=size)
    return f"payload/{name} of Release healthcare/2 is not the one that was signed: {what}"


@pytest.mark.parametrize("kind", [*CONTENT, *SHAPE])
@pytest.mark.parametrize("file", [file for file in FILES if SIGNATURE not in file])
def test_a_forged_file_is_refused_by_name_and_by_what_is_wrong(forged: Forged, file: str, kind: str) -> None:
    forge = CONTENT[kind] if kind in CONTENT else SHAPE[kind][0]
    assert forged.refused(lambda packages: forge(packages / file)) == (5, expected(file, kind, forged))


def test_each_kind_of_forgery_has_its_own_message(both: Forged) -> None:
    for file in FILES:
        kinds = list(SHAPE) if SIGNATURE in file else [*CONTENT, *SHAPE]
        said = {kind: expected(file, kind, both) for kind in kinds}
        # Of a file whose digest alone is signed nobody can tell in which way its bytes were changed.
        bytewise = {kind for kind in CONTENT if kind.startswith("flipped") or "payload" not in file}
        for kind, other in combinations(kinds, 2):
            assert said[kind] != said[other] or {kind, other} <= bytewise


@pytest.mark.parametrize("kind", SHAPE)
def test_a_signature_file_of_another_shape_is_refused(forged: Forged, kind: str) -> None:
    file = f"2.attestations/{SIGNATURE}"
    said = forged.refused(lambda packages: SHAPE[kind][0](packages / file))
    assert said == (5, expected(file, kind, forged))


# The signature, by somebody who knows the formats and has a key of their own.


def envelope(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["dsseEnvelope"]
    return found


def own_key(document: dict[str, Any]) -> None:
    """A genuine P-256 signature over the genuine payload, under the name of the home's key."""
    payload = base64.b64decode(envelope(document)["payload"])
    value = ec.generate_private_key(ec.SECP256R1()).sign(pae(PAYLOAD_TYPE, payload), ec.ECDSA(SHA256()))
    envelope(document)["signatures"][0]["sig"] = base64.b64encode(value).decode()


def own_hint(document: dict[str, Any]) -> None:
    own_key(document)
    envelope(document)["signatures"][0]["keyid"] = "f" * 64
    document["verificationMaterial"]["publicKey"]["hint"] = "f" * 64


def own_certificate(document: dict[str, Any]) -> None:
    own_key(document)
    document["verificationMaterial"]["publicKey"]["rawBytes"] = "AAAA"


SIGNED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another payload type": (
        lambda d: envelope(d).update(payloadType="application/json"),
        "The payload of the bundle is not an in-toto statement",
    ),
    "no signature": (
        lambda d: envelope(d).update(signatures=[]),
        "The bundle has 0 signatures instead of exactly one",
    ),
    "two signatures": (
        lambda d: envelope(d).update(signatures=envelope(d)["signatures"] * 2),
        "The bundle has 2 signatures instead of exactly one",
    ),
    "another key under our name": (own_key, "A signature does not fit the signed bytes"),
    "another key under its own name": (
        own_hint,
        "A signature names a key that is not one of this home's signing keys",
    ),
    "a key in the bundle": (own_certificate, "The public key of the bundle has 1 unknown members"),
    "a signature that names another key": (
        lambda d: envelope(d)["signatures"][0].update(keyid="0" * 64),
        "The signature names another key than the bundle",
    ),
    "another algorithm": (
        lambda d: envelope(d)["signatures"][0].update(alg="none"),
        "The signature of the bundle has 1 unknown members",
    ),
    "an older format": (
        lambda d: d.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"),
        "The bundle is not a Sigstore bundle v0.3",
    ),
    "a log entry of another package": (
        lambda d: d["verificationMaterial"].update(tlogEntries=[{"logIndex": "1"}]),
        "The bundle carries transparency log entries, which are not used here",
    ),
}


@pytest.mark.parametrize("kind", SIGNED)
def test_a_forged_signature_is_refused(forged: Forged, kind: str) -> None:
    change, said = SIGNED[kind]

    def forge(packages: Path) -> None:
        path = packages / "2.attestations" / SIGNATURE
        document = json.loads(path.read_bytes())
        change(document)
        path.write_bytes(canonical.dumps(document))

    assert forged.refused(forge) == (5, UNSIGNED + said)


def test_the_messages_of_forged_signatures_differ() -> None:
    assert len({said for _, said in SIGNED.values()}) == len(SIGNED)


# Somebody who holds the home's own key: the signature is genuine, and something else gives it away.


def sign(
    services: Services, packages: Path, document: bytes, number: int = 2, kind: str = RELEASE_PREDICATE
) -> None:
    (packages / "2" / MANIFEST).write_bytes(document)
    bundle = sign_statement(
        services.keys,
        subject_name=MANIFEST,
        subject_digest=canonical.sha256(document),
        predicate_type=kind,
        predicate=release_predicate(PRODUCT, number),
    )
    (packages / "2.attestations" / SIGNATURE).write_bytes(bundle)


STRICT = "The manifest is not a strict JSON document: "
SPELLED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a member twice": (
        lambda d: d.replace(b'{"base":', b'{"base":null,"base":', 1),
        f"{STRICT}an object names a member twice",
    ),
    "a byte order mark": (lambda d: b"\xef\xbb\xbf" + d, f"{STRICT}it begins with a byte order mark"),
    "NaN": (
        lambda d: d.replace(b'"number":2', b'"number":NaN', 1),
        f"{STRICT}it holds NaN or an infinity",
    ),
    "deep nesting": (lambda _: b'{"a":' * 50_000, f"{STRICT}it is nested too deeply"),
    "other bytes than UTF-8": (
        lambda d: d.replace(b"healthcare", b"h\xffalthcare", 1),
        f"{STRICT}it is not UTF-8",
    ),
    "no JSON": (lambda d: d[:-1], f"{STRICT}it is not JSON"),
    "CRLF": (lambda d: d.replace(b',"', b',\r\n"', 1), "The manifest is not in canonical form"),
    "a member too much": (
        lambda d: d.replace(b'{"base":', b'{"a":1,"base":', 1),
        "The manifest is malformed at a",
    ),
    "another number": (
        lambda d: d.replace(b'"number":2', b'"number":3', 1),
        "Release healthcare/2 was signed as another release",
    ),
}


@pytest.mark.parametrize("kind", SPELLED)
def test_a_signed_manifest_that_two_readers_could_read_differently_is_refused(
    forged: Forged, kind: str
) -> None:
    change, said = SPELLED[kind]
    document = (forged.pristine / "2" / MANIFEST).read_bytes()
    services = forged.services
    assert forged.refused(lambda packages: sign(services, packages, change(document))) == (5, said)


def test_the_messages_of_manifests_differ() -> None:
    assert len({said for _, said in SPELLED.values()}) == len(SPELLED)


def test_a_genuine_statement_of_another_kind_is_no_release(forged: Forged) -> None:
    document = (forged.pristine / "2" / MANIFEST).read_bytes()
    kind = "https://example.test/approval"
    said = forged.refused(lambda packages: sign(forged.services, packages, document, kind=kind))
    assert said == (5, UNSIGNED + "The signed statement has another predicate type")


def test_the_genuine_signature_of_another_release_is_refused(forged: Forged) -> None:
    def forge(packages: Path) -> None:
        shutil.copyfile(packages / "1.attestations" / SIGNATURE, packages / "2.attestations" / SIGNATURE)

    assert forged.refused(forge) == (5, UNSIGNED + "The signed statement is about another subject")


def test_an_older_valid_package_in_place_of_the_newer_is_refused(forged: Forged) -> None:
    def forge(packages: Path) -> None:
        for suffix in ("", ".attestations"):
            shutil.rmtree(packages / f"2{suffix}")
            shutil.copytree(packages / f"1{suffix}", packages / f"2{suffix}")

    assert forged.refused(forge) == (5, "Release healthcare/2 is healthcare/1 in another's place")


def test_a_genuine_package_for_another_environment_is_not_the_one_that_was_registered(forged: Forged) -> None:
    """Same home, product, number and keys: only the gate knows that this is not what was decided on."""

    def forge(packages: Path) -> None:
        manifest = json.loads((packages / "2" / MANIFEST).read_bytes())
        sign(forged.services, packages, canonical.dumps({**manifest, "environment": "staging"}))

    code, said = forged.refused(forge)
    assert code == 4
    assert said.startswith("The package of healthcare release 2 is not the one that was registered")
    assert said.endswith(": it has another digest, environment")


def test_what_was_restored_is_deployed(forged: Forged) -> None:
    deployed = deploy(forged.deploying, forged.deploying.product(PRODUCT))
    assert (deployed.record.number, deployed.reused) == (2, False)
