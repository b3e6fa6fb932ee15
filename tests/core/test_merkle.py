"""The audit tree against the vectors of transparency-dev/merkle, and against itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gate.core import merkle


def _vectors(folder: Path) -> list[dict[str, object]]:
    found = [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]
    assert len(found) > 50
    return found


def _bytes(text: object) -> bytes:
    return base64.b64decode(str(text or ""))


def test_inclusion_proofs_meet_the_vectors(shared_data: Path) -> None:
    for vector in _vectors(shared_data / "merkle" / "testdata" / "inclusion"):
        proof = [_bytes(step) for step in vector["proof"] or []]  # type: ignore[attr-defined]
        index, size = int(str(vector["leafIdx"])), int(str(vector["treeSize"]))
        good = merkle.includes(index, size, _bytes(vector["leafHash"]), proof, _bytes(vector["root"]))
        assert good is not vector["wantErr"], vector["desc"]


def test_consistency_proofs_meet_the_vectors(shared_data: Path) -> None:
    for vector in _vectors(shared_data / "merkle" / "testdata" / "consistency"):
        proof = [_bytes(step) for step in vector["proof"] or []]  # type: ignore[attr-defined]
        size1, size2 = int(str(vector["size1"])), int(str(vector["size2"]))
        good = merkle.extends(size1, size2, _bytes(vector["root1"]), _bytes(vector["root2"]), proof)
        assert good is not vector["wantErr"], vector["desc"]


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_the_incremental_root_is_the_root_and_every_proof_verifies(leaves: list[bytes], data: st.DataObject) -> None:
    peaks: merkle.Peaks = ()
    for size, leaf in enumerate(leaves):
        peaks = merkle.append(size, peaks, leaf)
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    root = merkle.root(peaks)
    assert root == merkle.root_of(hashes)
    index = data.draw(st.integers(0, len(leaves) - 1))
    assert merkle.includes(index, len(leaves), hashes[index], merkle.inclusion_proof(index, hashes), root)
    size = data.draw(st.integers(1, len(leaves)))
    proof = merkle.consistency_proof(size, hashes)
    assert merkle.extends(size, len(leaves), merkle.root_of(hashes[:size]), root, proof)
    assert not merkle.extends(size, len(leaves), merkle.root_of([*hashes[:size], b"x"]), root, proof)
