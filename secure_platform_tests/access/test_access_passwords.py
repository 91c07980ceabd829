"""Passwords: what may be one, and how it is kept."""

import pytest
from argon2 import PasswordHasher

from secure_platform.access.passwords import hash_password, is_outdated, is_password, require_good
from secure_platform.errors import UsageError

GOOD = "seventeen purple kites over Graz"


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "vqxjzk mwrtph",
        "483920174829",
        "wörter mit ümläuten",
        "密碼很長而且沒有人會猜到它",
        "a password for my dog Rex",
        "x7$kQ!w" * 18,
    ],
)
def test_long_and_unlike_others_is_good(password: str) -> None:
    require_good(password, "alice")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "vqxjzkmwrtp",
        "v" + "qxjzkmwrtp" * 13,
        "password1234",
        "Password2026!",
        "P@ssw0rd!2026",
        "passwordpassword",
        "qwertyuiop12",
        "1q2w3e4r5t6z",
        "123456789012",
        "abcdefghijklmnop",
        "aaaaaaaaaaaaaaaa",
        "Summer2026!!!",
        "iloveyou1234",
        "correcthorsebatterystaple",
        "secureplatform1",
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff11\uff12\uff13\uff14",
    ],
)
def test_what_is_too_short_too_long_or_tried_first_is_refused(password: str) -> None:
    with pytest.raises(UsageError) as refused:
        require_good(password, "alice")
    assert not password or password not in str(refused.value)


@pytest.mark.parametrize("password", ["alice.example123", "Alice-Alice-1234", "example.org2026"])
def test_the_own_name_does_not_count(password: str) -> None:
    require_good(password, "bob")
    with pytest.raises(UsageError):
        require_good(password, "alice@example.org")


@pytest.mark.usefixtures("slow_passwords")
def test_the_hash_is_argon2id_with_the_parameters_of_rfc_9106() -> None:
    stored = hash_password(GOOD)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert stored != hash_password(GOOD)
    assert is_password(stored, GOOD)
    assert not is_password(stored, GOOD + " ")


def test_the_same_letters_typed_in_another_way_are_the_same_password() -> None:
    assert is_password(hash_password("Zürcher Wörter sind lang"), "Zu\u0308rcher Wo\u0308rter sind lang")


@pytest.mark.parametrize("stored", [None, "", "x", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"])
def test_without_a_good_hash_nothing_is_the_password(stored: str | None) -> None:
    assert not is_password(stored, "nobody has this password")


@pytest.mark.usefixtures("slow_passwords")
def test_a_hash_with_weaker_parameters_is_outdated() -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(GOOD)
    assert is_outdated(weak)
    assert not is_outdated(hash_password(GOOD))
