"""Stock clients in places of their own: suricata-update, and apt with dpkg."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Update:
    """suricata-update with a data directory; ``address``: where it finds the mirror."""

    def __init__(self, home: Path, address: str) -> None:
        self.home, self.address = home, address
        self.home.mkdir()
        (self.home / "update.yaml").write_text("disable-conf: none\n")

    def run(self, *words: str) -> str:
        command = ["suricata-update", *words, "-D", str(self.home), "-c", str(self.home / "update.yaml")]
        environment = {"PATH": "/usr/bin:/bin", "SOURCE_INDEX_URL": f"{self.address}/index.yaml"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def updates(self, *words: str) -> list[str]:
        """One run; the messages of the rules that it has put in place."""
        self.said = self.run("update", "--no-test", "--no-reload", "--now", *words)
        found = (self.home / "rules" / "suricata.rules").read_text()
        return [line.partition('msg:"')[2].partition('"')[0] for line in found.splitlines() if line.startswith("alert")]


class Apt:
    """apt and dpkg with a root and a database of their own, and one repository; ``key``: its public key."""

    def __init__(self, root: Path, address: str, key: bytes) -> None:
        self.root = root
        for name in ("etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/dpkg/info", "var/lib/dpkg/updates",
                     "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"):  # fmt: skip
            (self.root / name).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "gate.gpg").write_bytes(key)
        line = f"deb [signed-by={self.root}/gate.gpg] {address} gate main\n"
        (self.root / "etc/apt/sources.list").write_text(line)
        options = {
            "Dir": self.root,
            "Dir::State::status": self.root / "var/lib/dpkg/status",
            "Dir::Bin::methods": "/usr/lib/apt/methods",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Debug::NoLocking": "true",
        }
        self.conf = self.root / "apt.conf"
        dpkg = [f"--root={self.root}", "--force-not-root,script-chrootless,bad-path", "--log=/dev/null"]
        lines = [f'{name} "{value}";' for name, value in options.items()]
        lines += [f'DPkg::Options:: "{word}";' for word in dpkg]
        self.conf.write_text("\n".join(lines) + "\n")

    def run(self, *words: str) -> tuple[int, str]:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "APT_CONFIG": str(self.conf), "LC_ALL": "C",
                       "DEBIAN_FRONTEND": "noninteractive"}  # fmt: skip
        done = subprocess.run(["apt-get", "-y", *words], env=environment, capture_output=True, text=True, timeout=60,
                              check=False)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def good(self, *words: str) -> str:
        code, said = self.run(*words)
        assert code == 0, said
        return said

    def has(self) -> str:
        """What is really on its disk."""
        path = self.root / "usr/share/till/version"
        return path.read_text() if path.exists() else ""

    def updates(self, *words: str) -> str:
        """As a nightly job does."""
        self.good("update")
        self.said = self.good("install", *words, "till") if not self.has() else self.good("upgrade", *words)
        return self.has()

    def pins(self) -> None:
        """What a recall asks of it."""
        (self.root / "etc/apt/preferences.d/gate").write_text(
            "Package: till\nPin: release o=gate\nPin-Priority: 1001\n"
        )
