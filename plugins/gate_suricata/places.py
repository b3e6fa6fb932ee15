"""Where rules lie: an address, an entry of an index.yaml, or a folder; and the index that the gate itself serves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gate.hookspecs import Io, Source

TARBALL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.tar\.gz\Z", re.ASCII)
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z", re.ASCII)
INDEX_BYTES = 1024 * 1024
ENGINE = "7.0.0"


class Bad(Exception):
    """Rules that cannot be taken now, with the reason."""


@dataclass(frozen=True, slots=True)
class Place:
    """Address or path of a tarball; ``md5`` where that is a file beside it; ``listed``: the version in the index."""

    tarball: str
    md5: Path | None = None
    listed: str = ""


def place_of(source: Source, io: Io) -> Place:
    """Where the rules lie now.

    Raises:
        Bad: nowhere, or not in a way that they could be taken. ValueError: the options do not say where to look.
    """
    options = source.options
    if sum(one in options for one in ("rules", "index", "folder")) != 1:
        raise ValueError("one of rules, index and folder is needed, and no second one")
    engine = options.get("engine", ENGINE)
    if "rules" in options:
        return Place(_address(options["rules"], engine))
    if "index" in options:
        entry = _entry(io.http.get(options["index"], most=INDEX_BYTES).body, options.get("name", ""))
        return Place(_address(entry["url"], engine), None, _version(entry))
    folder, listed = Path(options["folder"]), ""
    if (folder / "index.yaml").is_file():
        entry = _entry((folder / "index.yaml").read_bytes()[:INDEX_BYTES], options.get("name", ""))
        tarball, listed = folder / entry["url"].rpartition("/")[2], _version(entry)
    else:
        found = sorted(folder.glob("*.tar.gz"))
        if len(found) != 1:
            raise Bad(f"there are {len(found)} tarballs in the folder, and no index.yaml that names one")
        (tarball,) = found
    md5 = tarball.with_name(f"{tarball.name}.md5")
    if not TARBALL.match(tarball.name) or any(path.is_symlink() or not path.is_file() for path in (tarball, md5)):
        raise Bad(f"{tarball.name[:100]!r} or its md5 is missing, a link, or not a plain name")
    return Place(str(tarball), md5, listed)


def _address(url: str, engine: str) -> str:
    """Raises: Bad: it wants more than the engine's version, or names no tar.gz."""
    found = url.replace("%(__version__)s", engine)
    if "%(" in found or not TARBALL.match(found.rpartition("/")[2]):
        raise Bad(f"{found[-100:]!r} names no tar.gz, or wants parameters")
    return found


def _entry(raw: bytes, name: str) -> Mapping[str, Any]:
    """One source of an index; without a name the only one."""
    try:
        found = YAML(typ="safe", pure=True).load(raw)
    except (YAMLError, ValueError, RecursionError) as problem:
        raise Bad("the index is no YAML") from problem
    sources = found.get("sources") if isinstance(found, dict) else None
    if not isinstance(sources, dict):
        raise Bad("the index has no sources")
    entry = sources.get(name) if name or len(sources) != 1 else next(iter(sources.values()))
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise Bad(f"the index has no source {name[:80]!r} with an address")
    if "obsolete" in entry:
        raise Bad(f"its vendor says that it is obsolete: {str(entry['obsolete'])[:100]}")
    if entry.get("checksum") is False:
        raise Bad("it comes without an md5, and could not be told from a half-written one")
    return entry


def _version(entry: Mapping[str, Any]) -> str:
    found = str(entry.get("version", ""))
    if found and not VERSION.match(found):
        raise Bad("the version in the index is not plain")
    return found


def index(source: str, tarball: str, version: str) -> str:
    """An index of one source. Without et/open in it suricata-update cannot add that beside it, past the gate."""
    return (
        f"version: 1\nsources:\n  {json.dumps(source)}:\n    vendor: gate\n    summary: what the gate has released\n"
        f'    version: {json.dumps(version)}\n    license: as its vendor says\n    url: "%(mirror)s/{tarball}"\n'
        "    parameters:\n      mirror:\n        prompt: this machine's address on the gate's mirror\n"
    )
