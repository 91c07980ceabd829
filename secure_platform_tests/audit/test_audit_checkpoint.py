"""Signed notes, against notes that other implementations signed."""

import base64

import pytest
from audit_support import KEY, NAME, ORIGIN, SoftwareSigner
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.audit.checkpoint import Checkpoint, NoteKey, read_checkpoint
from secure_platform.errors import IntegrityError, UsageError

# golang.org/x/mod/sumdb/note, package documentation; the secret key is published there.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
GO_NOTE = f"{GO_TEXT}\n— PeterNeumann {GO_SIGNATURE}\n"
# The Go checksum database and one of its checkpoints.
SUMDB_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUMDB_NOTE = (
    "go.sum database tree\n6476701\nmb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=\n\n— sum.golang.org "
    "Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYfvimWEPWL+o3GeoWwOoAw=\n"
)
ROOT = bytes(range(32))


def note_key(encoded: str) -> NoteKey:
    name, key_id, key = encoded.split("+", 2)
    parsed = NoteKey(name, base64.b64decode(key)[1:])
    assert parsed.key_id.hex() == key_id
    return parsed


def signed(text: str, signer: SoftwareSigner | None = None) -> str:
    signer = signer or SoftwareSigner()
    return NoteKey(signer.name, signer.public_key).attach(text, signer.sign(text.encode()))


def good() -> str:
    return signed(Checkpoint(ORIGIN, 7, ROOT).text())


def test_opens_a_note_that_go_signed() -> None:
    assert note_key(GO_KEY).open(GO_NOTE) == GO_TEXT


def test_writes_the_note_that_go_writes() -> None:
    signer = SoftwareSigner(base64.b64decode(GO_SECRET)[1:], "PeterNeumann")
    assert signed(GO_TEXT, signer) == GO_NOTE


def test_reads_a_checkpoint_of_the_go_checksum_database() -> None:
    state = read_checkpoint(SUMDB_NOTE, origin="go.sum database tree", key=note_key(SUMDB_KEY))
    assert state.size == 6476701
    assert base64.b64encode(state.root) == b"mb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk="


def test_reads_what_it_wrote() -> None:
    assert read_checkpoint(good(), origin=ORIGIN, key=KEY) == Checkpoint(ORIGIN, 7, ROOT)


def test_signatures_of_other_keys_are_ignored_wherever_they_stand() -> None:
    ours = good()
    text, _, line = ours.rpartition("\n\n")
    other = signed(f"{text}\n", SoftwareSigner(b"\x02" * 32, "witness.example.org")).rpartition("\n\n")[2]
    for lines in (line + other, other + line):
        assert read_checkpoint(f"{text}\n\n{lines}", origin=ORIGIN, key=KEY).size == 7


@pytest.mark.parametrize("place", range(0, len(good()), 3))
def test_a_changed_character_is_refused(place: int) -> None:
    note = good()
    changed = "A" if note[place] != "A" else "B"
    with pytest.raises(IntegrityError):
        read_checkpoint(note[:place] + changed + note[place + 1 :], origin=ORIGIN, key=KEY)


@pytest.mark.parametrize("cut", range(len(good())))
def test_a_cut_note_is_refused(cut: int) -> None:
    with pytest.raises(IntegrityError):
        read_checkpoint(good()[:cut], origin=ORIGIN, key=KEY)


ROOT_TEXT = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n07\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n-7\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n+7\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\u0667\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{'9' * 30}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n7\n{ROOT_TEXT[:-1]}\n",
        f"{ORIGIN}\n7\n{ROOT_TEXT[:-2]}9=\n",
        f"{ORIGIN}\n7\n{base64.b64encode(ROOT[:31]).decode()}\n",
        f"{ORIGIN}\n7\n",
        f"{ORIGIN}\n7\n{ROOT_TEXT}\nextension\n",
        f"{ORIGIN}\n7\n{ROOT_TEXT}\n\n",
        f"example.org/other\n7\n{ROOT_TEXT}\n",
        f"\n7\n{ROOT_TEXT}\n",
    ],
)
def test_a_text_that_is_no_checkpoint_of_this_log_is_refused_though_signed(text: str) -> None:
    with pytest.raises(IntegrityError):
        read_checkpoint(signed(text), origin=ORIGIN, key=KEY)


def test_a_control_character_is_refused_though_signed() -> None:
    with pytest.raises(IntegrityError, match="not a signed note"):
        read_checkpoint(signed(f"a\tb\n7\n{ROOT_TEXT}\n"), origin="a\tb", key=KEY)


def test_another_key_under_our_name_is_refused() -> None:
    forged = signed(Checkpoint(ORIGIN, 7, ROOT).text(), SoftwareSigner(b"\x02" * 32, NAME))
    with pytest.raises(IntegrityError, match="not signed by the key"):
        read_checkpoint(forged, origin=ORIGIN, key=KEY)


def test_a_foreign_signature_that_claims_our_key_id_is_refused() -> None:
    text = Checkpoint(ORIGIN, 7, ROOT).text()
    forged = KEY.attach(text, SoftwareSigner(b"\x02" * 32).sign(text.encode()))
    with pytest.raises(IntegrityError, match="not valid"):
        read_checkpoint(forged, origin=ORIGIN, key=KEY)


def test_a_text_that_utf8_cannot_carry_is_refused() -> None:
    with pytest.raises(IntegrityError, match="not valid"):
        read_checkpoint(KEY.attach("\ud800\n7\nx\n", b"\0" * 64), origin=ORIGIN, key=KEY)


def test_one_wrong_signature_of_our_key_spoils_the_note() -> None:
    text, _, line = good().rpartition("\n\n")
    wrong = KEY.attach(f"{text}\n", b"\0" * 64).rpartition("\n\n")[2]
    with pytest.raises(IntegrityError, match="not valid"):
        read_checkpoint(f"{text}\n\n{line}{wrong}", origin=ORIGIN, key=KEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2003b", "a\tb", "a\x7fb"])
def test_a_name_that_a_note_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        NoteKey(name, b"\0" * 32)


@given(st.text(max_size=300))
def test_any_text_is_refused_without_another_error(note: str) -> None:
    with pytest.raises(IntegrityError):
        read_checkpoint(note, origin=ORIGIN, key=KEY)
