"""The tree and its proofs, against the reference roots of Certificate Transparency."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_platform.audit.proof import verify_consistency, verify_inclusion
from secure_platform.audit.tree import (
    EMPTY_ROOT,
    ReadNode,
    consistency_path,
    grow,
    inclusion_path,
    leaf_hash,
    node_hash,
    root,
)
from secure_platform.errors import IntegrityError

# google/certificate-transparency, merkletree test vectors: eight leaves and the root after each.
CT_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION = {  # (index, size): path
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CT_CONSISTENCY = {  # (old, new): path
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
ALL_SIZES = 20


def build(bodies: list[bytes]) -> ReadNode:
    nodes: dict[tuple[int, int], bytes] = {}

    def read(level: int, index: int) -> bytes:
        return nodes[level, index]

    for size, body in enumerate(bodies):
        for level, index, digest in grow(size, leaf_hash(body), read):
            nodes[level, index] = digest
    return read


def naive_root(bodies: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not bodies:
        return EMPTY_ROOT
    if len(bodies) == 1:
        return leaf_hash(bodies[0])
    split = 1
    while split * 2 < len(bodies):
        split *= 2
    return node_hash(naive_root(bodies[:split]), naive_root(bodies[split:]))


BODIES = [b"entry %d" % n for n in range(ALL_SIZES)]
READ = build(BODIES)
CT_READ = build([bytes.fromhex(leaf) for leaf in CT_LEAVES])


def test_roots_are_those_of_certificate_transparency() -> None:
    assert [root(n, CT_READ).hex() for n in range(1, 9)] == CT_ROOTS
    assert root(0, CT_READ).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("place", "path"), CT_INCLUSION.items())
def test_inclusion_paths_are_those_of_certificate_transparency(
    place: tuple[int, int], path: list[str]
) -> None:
    assert [h.hex() for h in inclusion_path(*place, CT_READ)] == path


@pytest.mark.parametrize(("sizes", "path"), CT_CONSISTENCY.items())
def test_consistency_paths_are_those_of_certificate_transparency(
    sizes: tuple[int, int], path: list[str]
) -> None:
    assert [h.hex() for h in consistency_path(*sizes, CT_READ)] == path


def test_every_inclusion_proof_of_every_size_verifies_for_its_entry_only() -> None:
    for size in range(1, ALL_SIZES + 1):
        whole = root(size, READ)
        for index in range(size):
            path = inclusion_path(index, size, READ)
            verify_inclusion(leaf_hash(BODIES[index]), index, size, path, whole)
            for other in range(size):
                if other != index:
                    with pytest.raises(IntegrityError):
                        verify_inclusion(leaf_hash(BODIES[index]), other, size, path, whole)


def test_every_consistency_proof_of_every_pair_verifies_for_its_roots_only() -> None:
    for new in range(ALL_SIZES + 1):
        for old in range(new + 1):
            path = consistency_path(old, new, READ)
            verify_consistency(old, new, path, root(old, READ), root(new, READ))
            with pytest.raises(IntegrityError):
                verify_consistency(old, new, path, b"\0" * 32, root(new, READ))
            if old:
                with pytest.raises(IntegrityError):
                    verify_consistency(old, new, path, root(old, READ), b"\0" * 32)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=70), st.data())
def test_any_log_agrees_with_the_definition_and_a_changed_proof_fails(
    bodies: list[bytes], data: st.DataObject
) -> None:
    size = len(bodies)
    read = build(bodies)
    whole = root(size, read)
    assert whole == naive_root(bodies)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    inclusion, consistency = inclusion_path(index, size, read), consistency_path(old, size, read)
    verify_inclusion(leaf_hash(bodies[index]), index, size, inclusion, whole)
    verify_consistency(old, size, consistency, naive_root(bodies[:old]), whole)
    for forged in mutations(inclusion, data):
        with pytest.raises(IntegrityError):
            verify_inclusion(leaf_hash(bodies[index]), index, size, forged, whole)
    for forged in mutations(consistency, data):
        with pytest.raises(IntegrityError):
            verify_consistency(old, size, forged, naive_root(bodies[:old]), whole)


def mutations(path: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    """The path with one hash more, one less, one bit flipped."""
    changed = [[*path, b"\x07" * 32], [b"\x07" * 32, *path]]
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        flipped = bytes([path[place][0] ^ 1]) + path[place][1:]
        changed += [path[:place] + path[place + 1 :], [*path[:place], flipped, *path[place + 1 :]]]
    return changed


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (9, 8), (0, 0), (0, -1)])
def test_inclusion_outside_the_log_is_refused(index: int, size: int) -> None:
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf_hash(b""), index, size, [], leaf_hash(b""))


@pytest.mark.parametrize(("old", "new"), [(5, 4), (-1, 4), (4, -1)])
def test_consistency_of_impossible_sizes_is_refused(old: int, new: int) -> None:
    with pytest.raises(IntegrityError):
        verify_consistency(old, new, [], EMPTY_ROOT, EMPTY_ROOT)


def test_a_proof_of_another_size_that_leads_to_the_same_root_is_refused() -> None:
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf_hash(BODIES[1]), 0, 1, inclusion_path(1, 2, READ), root(2, READ))
    with pytest.raises(IntegrityError):
        verify_consistency(3, 4, consistency_path(7, 8, READ), root(7, READ), root(8, READ))
    with pytest.raises(IntegrityError):
        verify_consistency(2, 5, consistency_path(2, 3, READ), root(2, READ), root(3, READ))


def test_an_inner_node_does_not_pass_as_an_entry() -> None:
    inner = node_hash(leaf_hash(BODIES[0]), leaf_hash(BODIES[1]))
    forged = leaf_hash(leaf_hash(BODIES[0]) + leaf_hash(BODIES[1]))
    assert inner != forged
    with pytest.raises(IntegrityError):
        verify_inclusion(forged, 0, 1, [], root(2, READ))
