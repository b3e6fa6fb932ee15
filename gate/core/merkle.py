"""The audit tree of RFC 6962: leaf and node hashes, the root kept incrementally, proofs and their verification.

- A leaf is hashed with 0x00 before it, a node with 0x01, so that neither can pass for the other (section 2.1).
- ``Peaks`` are the roots of the perfect subtrees from left to right: appending costs O(log n), so does the root.
- Verification follows RFC 9162, sections 2.1.3.2 and 2.1.4.2; a proof of the wrong length never verifies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

Peaks = tuple[bytes, ...]
HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of one leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


def append(size: int, peaks: Peaks, leaf: bytes) -> Peaks:
    """The peaks after one more leaf."""
    found, node = list(peaks), leaf_hash(leaf)
    while size & 1:
        node = node_hash(found.pop(), node)
        size >>= 1
    return (*found, node)


def root(peaks: Peaks) -> bytes:
    """The tree's root."""
    if not peaks:
        return EMPTY_ROOT
    node = peaks[-1]
    for peak in reversed(peaks[:-1]):
        node = node_hash(peak, node)
    return node


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    split = _split(len(hashes))
    return node_hash(root_of(hashes[:split]), root_of(hashes[split:]))


def inclusion_proof(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """The path that proves the leaf at ``index`` in the tree over these leaf hashes."""
    assert 0 <= index < len(hashes)
    if len(hashes) == 1:
        return []
    split = _split(len(hashes))
    if index < split:
        return [*inclusion_proof(index, hashes[:split]), root_of(hashes[split:])]
    return [*inclusion_proof(index - split, hashes[split:]), root_of(hashes[:split])]


def consistency_proof(size: int, hashes: Sequence[bytes]) -> list[bytes]:
    """The path that proves that the tree of the first ``size`` leaves is a beginning of this one."""
    assert 0 < size <= len(hashes)
    return _subproof(size, hashes, True)


def _subproof(size: int, hashes: Sequence[bytes], whole: bool) -> list[bytes]:
    if size == len(hashes):
        return [] if whole else [root_of(hashes)]
    split = _split(len(hashes))
    if size <= split:
        return [*_subproof(size, hashes[:split], whole), root_of(hashes[split:])]
    return [*_subproof(size - split, hashes[split:], False), root_of(hashes[:split])]


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def includes(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root_hash: bytes) -> bool:
    """Does the proof show the leaf hash at ``index`` in the tree of ``size`` with this root?"""
    if not 0 <= index < size or len(leaf) != HASH_SIZE:
        return False
    position, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(step, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, step)
        position, last = position >> 1, last >> 1
    return last == 0 and node == root_hash


def extends(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> bool:
    """Does the proof show that the tree of ``size1`` is a beginning of the tree of ``size2``?"""
    if not 0 < size1 <= size2:
        return False
    if size1 == size2:
        return not proof and root1 == root2
    if not proof:
        return False
    steps = list(proof)
    if size1 & (size1 - 1) == 0:
        steps.insert(0, root1)
    first, last = size1 - 1, size2 - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new = node_hash(new, step)
        first, last = first >> 1, last >> 1
    return last == 0 and old == root1 and new == root2
