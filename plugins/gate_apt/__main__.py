"""``python3 -m gate_apt KEY_FILE PUBLIC_FILE``: makes a repository's key, and what machines must know of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gate_apt import openpgp


def main(arguments: list[str]) -> int:
    """Writes both files, neither over one that is there; prints the fingerprint."""
    parser = argparse.ArgumentParser(prog="python3 -m gate_apt", description=__doc__)
    parser.add_argument("key_file", type=Path, help="for the option `key`; it stays on the gate")
    parser.add_argument("public_file", type=Path, help="for `Signed-By` on machines")
    given = parser.parse_args(arguments)
    with given.public_file.open("xb") as file:
        key = openpgp.make(given.key_file)
        file.write(key.public())
    sys.stdout.write(key.fingerprint.hex().upper() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
