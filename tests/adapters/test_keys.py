"""Keys: private files, refused otherwise."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gate.adapters import keys
from gate.core.errors import OperatorError


def test_every_key_is_a_private_file_of_its_own_value(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keys.create(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {f"{name}.pem" for name in keys.NAMES}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len({path.read_bytes() for path in folder.iterdir()}) == len(keys.NAMES)
    assert len(keys.load_signers(folder)) == len(keys.NAMES) - 1


def test_keys_are_never_replaced(tmp_path: Path) -> None:
    keys.create(tmp_path / "keys")
    with pytest.raises(OperatorError, match="never replaced"):
        keys.create(tmp_path / "keys")


@pytest.mark.parametrize("spoil", ["group", "world", "folder", "link", "missing", "garbage", "twice"])
def test_a_key_that_is_not_private_and_its_own_stops_the_start(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "keys"
    keys.create(folder)
    file = folder / "gate.pem"
    match spoil:
        case "group":
            file.chmod(0o640)
        case "world":
            file.chmod(0o604)
        case "folder":
            folder.chmod(0o755)
        case "link":
            file.rename(tmp_path / "elsewhere.pem")
            file.symlink_to(tmp_path / "elsewhere.pem")
        case "missing":
            file.unlink()
        case "garbage":
            file.write_text("no key")
        case "twice":
            file.write_bytes((folder / "catalog.pem").read_bytes())
    with pytest.raises(OperatorError) as refused:
        keys.load_signers(folder)
    assert refused.value.kind == "bad_keys"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    keys.create(tmp_path / "keys")
    os.chown(tmp_path / "keys" / "gate.pem", 12345, -1)
    with pytest.raises(OperatorError, match="another user"):
        keys.load_signer(tmp_path / "keys", "gate")


def test_the_response_key_never_shows_its_seed(tmp_path: Path) -> None:
    keys.create(tmp_path / "keys")
    key = keys.load_response_key(tmp_path / "keys")
    assert key.seed.hex() not in repr(key)
    assert key.public_key in repr(key)
