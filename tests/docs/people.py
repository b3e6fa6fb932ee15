"""Writes ``docs/people.md`` anew: ``python -m tests.docs.people``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flask import Flask

from gate.bootstrap import pages
from gate.web import roles
from tests.conftest import REPOSITORY
from tests.real_gate import RealGate

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        gate = RealGate(Path(folder), "")
        app = pages(gate.opened)
        assert isinstance(app, Flask)
        (REPOSITORY / "docs" / "people.md").write_text(roles.document(app), encoding="utf-8")
        gate.close()
