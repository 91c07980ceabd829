"""The keys of log and signatures are rotated: the log stays the same log, and every signature is verified."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from keys_support import CONTEXT, NAMES, Home, counted, migrate, uses

from secure_platform.audit.checkpoint import NoteKey
from secure_platform.audit.proof import InclusionProof
from secure_platform.control.database import ControlDatabase
from secure_platform.errors import IntegrityError, ServiceError, UsageError
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.signing import Signature, SigningKey, keyid_of


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Home:
    return Home(tmp_path, migrated)


def opened(home: Home, provider: LocalKeyProvider | None = None) -> HomeKeys:
    """The home as another process opens it."""
    return HomeKeys(
        provider or LocalKeyProvider.open(home.directory / "keys"),
        ControlDatabase.at(home.directory / "control.db"),
        home.directory / "audit.db",
    )


# --- the log's key


def test_the_log_stays_the_same_log_and_its_earlier_checkpoints_count(home: Home) -> None:
    kept = [home.audit.checkpoint()]
    public = [home.ring.log_signer("n").public_key]
    for _ in range(2):
        home.ring.lifecycle.rotate("log", actor="admin")
        kept.append(home.audit.checkpoint())
        public.append(home.ring.log_signer("n").public_key)
    assert len(set(public)) == 3
    for log in (home.audit, opened(home).audit):
        assert {note.partition("\n")[0] for note in kept} == {log.origin}
        assert len(log.verify(kept).checkpoints) == 3
    for note, key in zip(kept, public, strict=True):
        NoteKey(home.audit.origin, key).open(note)


def test_an_export_that_was_begun_under_one_key_goes_on_under_the_next(home: Home, tmp_path: Path) -> None:
    home.audit.export(tmp_path / "tiles")
    home.ring.lifecycle.rotate("log", actor="admin")
    opened(home).audit.export(tmp_path / "tiles")
    note = (tmp_path / "tiles" / "checkpoint").read_text("utf-8")
    NoteKey(home.audit.origin, home.ring.log_signer("n").public_key).open(note)


def test_a_proof_is_signed_by_the_newest_key(home: Home) -> None:
    former = home.ring.log_signer("n").public_key
    home.ring.lifecycle.rotate("log", actor="admin")
    proof = InclusionProof.from_json(json.loads(json.dumps(home.audit.prove(1).to_json())))
    proof.verify(
        origin=home.audit.origin, key=NoteKey(home.audit.origin, home.ring.log_signer("n").public_key)
    )
    with pytest.raises(IntegrityError):
        proof.verify(origin=home.audit.origin, key=NoteKey(home.audit.origin, former))


def test_what_a_disabled_log_key_signed_and_somebody_kept_counts_no_more(home: Home) -> None:
    """Whoever has the leaked key could sign another log; the log's own checkpoints are compared with it."""
    kept = home.audit.checkpoint()
    home.ring.lifecycle.rotate("log", actor="admin")
    newer = home.audit.checkpoint()
    home.ring.lifecycle.disable("log", 1, actor="admin")
    for log in (home.audit, opened(home).audit):
        log.verify([newer])
        with pytest.raises(IntegrityError):
            log.verify([kept])
    home.ring.lifecycle.enable("log", 1, actor="admin")
    opened(home).audit.verify([kept, newer])


def test_a_log_whose_end_was_cut_off_gets_no_signature_of_the_next_key(home: Home) -> None:
    home.audit.checkpoint()
    home.ring.lifecycle.rotate("log", actor="admin")
    home.audit.checkpoint()
    size = home.audit.size()
    with home.audit._storage.write() as connection:
        connection.execute("DELETE FROM entry WHERE seq >= ?", (size - 1,))
        connection.execute("DELETE FROM node WHERE level = 0 AND idx >= ?", (size - 1,))
    with pytest.raises(IntegrityError):
        opened(home).audit.checkpoint()


def test_another_homes_log_key_signs_nothing_here(home: Home, tmp_path: Path, migrated: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    other = Home(tmp_path / "other", migrated)
    with pytest.raises(IntegrityError):
        home.audit.verify([other.audit.checkpoint()])


# --- pseudonyms


def test_an_entry_of_before_is_found_by_a_name_of_before_and_of_now(home: Home) -> None:
    names = []
    for _ in range(3):
        home.audit.append("probe.run", actor="ada", subject="probe")
        names.append(home.audit.tail(1)[0].body["actor"])
        home.ring.lifecycle.rotate("digest", actor="admin")
    assert len(set(names)) == 3
    known = home.reopened().identifiers("ada")
    assert known[1:] == names[::-1]
    home.ring.lifecycle.destroy("digest", 1, actor="admin")
    assert home.reopened().identifiers("ada") == known[:-1]


# --- a signing key that its provider holds


class Held:
    """A key that never leaves its provider."""

    def __init__(self, number: int) -> None:
        self.reference = f"keys/sign/{number}"
        self._key = SigningKey(SigningKey.generate())
        self.public_key_pem = self._key.public_key_pem

    def sign(self, message: bytes) -> Signature:
        return self._key.sign(message)


class Service(LocalKeyProvider):
    """Wraps as the local provider does, and holds versions of a signing key."""

    held: list[Held]

    def signer(self, reference: str | None = None) -> Held | None:  # type: ignore[override]
        if not self.held:
            return None
        found = {held.reference: held for held in self.held}
        if reference is not None and reference not in found:
            raise ServiceError("The service has no such key", "Restore it there.")
        return self.held[-1] if reference is None else found[reference]


@pytest.fixture
def service(home: Home) -> Service:
    provider = Service.open(home.directory / "keys")
    provider.held = []
    return provider


def test_signing_moves_to_a_service_and_within_it_and_back(home: Home, service: Service) -> None:
    ring = opened(home, service).ring
    own = ring.sign(b"m")
    service.held.append(Held(1))
    assert ring.sign(b"m").keyid == own.keyid, "nothing moves until it is rotated"
    first = ring.lifecycle.rotate("sign", actor="admin")
    held = ring.sign(b"m")
    assert (first.reference, held.keyid) == ("keys/sign/1", keyid_of(service.held[0].public_key_pem))
    with pytest.raises(
        UsageError, match=r"no newer version of its signing key.*Rotate the signing key in the"
    ):
        ring.lifecycle.rotate("sign", actor="admin")
    service.held.append(Held(2))
    assert ring.sign(b"m").keyid == held.keyid
    assert ring.lifecycle.rotate("sign", actor="admin").reference == "keys/sign/2"
    newer = ring.sign(b"m")
    service.held.clear()
    reopened = opened(home, service).ring
    for signature in (own, held, newer):
        reopened.verify(b"m", signature.value, signature.keyid)
    with pytest.raises(IntegrityError, match=r"is held by local, which is not set up to sign.*rotate sign"):
        reopened.sign(b"m")
    assert reopened.lifecycle.rotate("sign", actor="admin").reference is None
    back = reopened.sign(b"m")
    assert back.keyid not in {own.keyid, held.keyid, newer.keyid}


def test_a_service_that_signs_with_another_key_than_it_showed_signs_nothing(
    home: Home, service: Service
) -> None:
    service.held.append(Held(1))
    ring = opened(home, service).ring
    ring.lifecycle.rotate("sign", actor="admin")
    service.held[0] = Held(1)
    with pytest.raises(IntegrityError, match="does not fit"):
        ring.sign(b"m")


def test_a_service_that_lost_the_version_says_so(home: Home, service: Service) -> None:
    service.held.append(Held(1))
    ring = opened(home, service).ring
    ring.lifecycle.rotate("sign", actor="admin")
    service.held[0] = Held(2)
    with pytest.raises(ServiceError, match="has no such key"):
        ring.sign(b"m")


def test_a_held_key_is_disabled_and_destroyed_here_like_any_other(home: Home, service: Service) -> None:
    service.held.extend([Held(1)])
    ring = opened(home, service).ring
    ring.lifecycle.rotate("sign", actor="admin")
    signature = ring.sign(b"m")
    service.held.append(Held(2))
    ring.lifecycle.rotate("sign", actor="admin")
    ring.verify(b"m", signature.value, signature.keyid)
    ring.lifecycle.destroy("sign", 2, actor="admin")
    with pytest.raises(IntegrityError, match="is destroyed"):
        ring.verify(b"m", signature.value, signature.keyid)


# --- the provider


def test_each_version_is_opened_once_in_a_process_however_often_it_is_used(home: Home) -> None:
    for each in uses(home.ring).values():
        each()
    for name in NAMES:
        home.ring.lifecycle.rotate(name, actor="admin")
    ring, provider = counted(home)
    for _ in range(3):
        for each in uses(ring).values():
            each()
        ring.open_data_key(ring.new_data_key(CONTEXT).wrapped, CONTEXT)
    assert provider.asked <= len(ring.versions())


class Elsewhere(LocalKeyProvider):
    """Another root key under another name."""

    name = "elsewhere"

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        return b"elsewhere:" + super().wrap(plaintext, context=context)

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        return super().unwrap(wrapped.removeprefix(b"elsewhere:"), context=context)


def test_keys_move_to_another_provider_whole_and_back(home: Home, tmp_path: Path) -> None:
    for each in uses(home.ring).values():
        each()
    data, mac = home.ring.new_data_key(CONTEXT), home.ring.mac("p", b"m")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    other = Elsewhere.create(tmp_path / "elsewhere")
    count = home.ring.lifecycle.rewrap(actor="admin", to=other)
    assert count == len(home.ring.versions()) == len(NAMES) + 2
    assert all(row["wrapped"].startswith(b"elsewhere:") for row in home.rows().values())
    for ring in (home.ring, opened(home, Elsewhere.open(tmp_path / "elsewhere")).ring):
        assert ring.open_data_key(data.wrapped, CONTEXT) == data.plaintext
        assert ring.verify_mac("p", b"m", mac)
        for each in uses(ring).values():
            each()
    with pytest.raises(IntegrityError, match=r"wrapped by provider 'elsewhere', not 'local'"):
        home.reopened().new_data_key(CONTEXT)
    home.ring.lifecycle.rotate("data", actor="admin")
    assert {row["provider"] for row in home.rows().values()} == {"elsewhere"}
    home.ring.lifecycle.rewrap(actor="admin", to=home.provider)
    assert home.reopened().open_data_key(data.wrapped, CONTEXT) == data.plaintext


def test_a_provider_that_fails_half_way_moves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    other, before = Elsewhere.create(tmp_path / "elsewhere"), home.rows()
    wrap, asked = other.wrap, []

    def fails(plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        asked.append(context["name"])
        if len(asked) == 4:
            raise ServiceError("The service is sealed", "Unseal it.")
        return wrap(plaintext, context=context)

    monkeypatch.setattr(other, "wrap", fails)
    with pytest.raises(ServiceError, match="sealed"):
        home.ring.lifecycle.rewrap(actor="admin", to=other)
    assert home.rows() == before
    for ring in (home.ring, home.reopened()):
        for each in uses(ring).values():
            each()
    home.ring.lifecycle.rewrap(actor="admin", to=other)
