"""Where only the agent is installed, `gate` says so."""

from __future__ import annotations

from importlib.machinery import ModuleSpec

import pytest

from gate import entry


def test_without_the_servers_libraries_it_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = entry.find_spec

    def without(name: str) -> ModuleSpec | None:
        return None if name == "sqlalchemy" else real(name)

    monkeypatch.setattr(entry, "find_spec", without)
    with pytest.raises(SystemExit, match="only the agent is installed"):
        entry.main()
