"""``make fuzz``: atheris on every parser, each in a process of its own for GATE_FUZZ_SECONDS (20).

The corpus is our own files. Anything that is not the documented refusal, ten seconds for one input, or a gigabyte of
memory is a failure.
``python -m tests.fuzz policy hours`` runs some; ``python -m tests.fuzz --one policy CORPUS [libFuzzer options]`` is
what runs inside. What failed is kept in the folder that is printed: give its file to ``--one`` in the corpus' place.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def one(name: str, words: list[str]) -> None:
    """Fuzzes one parser; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["gate", "gate_directory"]):
        from tests.fuzz.targets import targets
    target = targets()[name]

    def feed(raw: bytes) -> None:
        target.feed(raw)

    atheris.Setup([sys.argv[0], *words], feed)
    atheris.Fuzz()


def every(names: list[str], seconds: int) -> int:
    """Fuzzes them one after another; how many failed."""
    from tests.fuzz.targets import targets

    known = targets()
    if unknown := sorted(set(names) - set(known)):
        sys.exit(f"no parser {', '.join(unknown)}; there are {', '.join(known)}")
    home, failed = Path(tempfile.mkdtemp(prefix="gate-fuzz-")), []
    for name in names or known:
        corpus, found = home / name / "corpus", home / name / "found"
        corpus.mkdir(parents=True)
        found.mkdir()
        for seed in known[name].seeds:
            (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=16384"]
        words = [sys.executable, "-m", "tests.fuzz", "--one", name, str(corpus), *limits, f"-artifact_prefix={found}/"]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        said = done.stderr.splitlines()
        runs = next((line.strip() for line in reversed(said) if "runs in" in line or line.startswith("#")), "")
        print(f"{'good' if done.returncode == 0 else 'FAILED'}  {name}: {runs}", flush=True)  # noqa: T201
        if done.returncode != 0:
            failed.append(name)
            print("\n".join(line for line in [*done.stdout.splitlines(), *said[-30:]] if "INFO" not in line))  # noqa: T201
    if failed:
        print(f"failed: {', '.join(failed)}; inputs are in {home}")  # noqa: T201
    return len(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3:])
    sys.exit(every(sys.argv[1:], int(os.environ.get("GATE_FUZZ_SECONDS", "20"))))
