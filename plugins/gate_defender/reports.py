"""What Defender says of itself: ``mdatp health --output json`` (Linux), ``Get-MpComputerStatus`` as JSON (Windows)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){3}\Z", re.ASCII)
VERSIONS = ("definitionsVersion", "AntivirusSignatureVersion")
WELL = ("healthy", "AntivirusEnabled")
MOST = 256 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """The definitions that are loaded, and whether Defender itself is well."""

    version: str
    well: bool
    detail: str


def read(report: str) -> Said | None:
    """A report in words; None: it says nothing about definitions."""
    if len(report) > MOST:
        return None
    plain = report.strip().strip('"')
    if VERSION.match(plain):
        return Said(plain, True, plain)
    try:
        found = json.loads(report)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    version = next((str(found[key]).strip('"') for key in VERSIONS if key in found), "")
    if not VERSION.match(version):
        return None
    well = all(found[key] is True for key in WELL if key in found) and any(key in found for key in WELL)
    issues = found.get("healthIssues")
    said = ", ".join(str(one)[:80] for one in issues[:5]) if isinstance(issues, list) else ""
    return Said(version, well, f"definitions {version}" + (f": {said}" if said else ""))
