"""``gate db``: the schema, backups while the gate runs, and the way back from one."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

import click

from gate.adapters.shelf import FileShelf
from gate.adapters.store import backup as tables
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import Opened, SystemClock
from gate.cli.common import emit, gate_of, output_option, settings_option
from gate.core.errors import OperatorError

FORMAT = 1


@click.group()
def db() -> None:
    """The database: upgrade, check, backup, restore."""


@db.command()
@settings_option
def upgrade(settings: Path) -> None:
    """Bring the schema up to this version; `gate serve` does the same at start."""
    with gate_of(settings) as opened:
        before = tables.revision(opened.store)
        opened.upgrade()
        click.echo(f"schema {before or 'empty'} -> {tables.revision(opened.store)}")


@db.command()
@settings_option
@output_option
def check(settings: Path, output: str) -> None:
    """Is the schema what this version wants, and the file sound? Exit code 1 when not."""
    with gate_of(settings) as opened:
        found = tables.problems(opened.store)
    if output != "table":
        emit({"good": not found, "problems": found}, output)
    else:
        for line in found:
            click.echo(line, err=True)
    if found:
        raise SystemExit(1)
    if output == "table":
        click.echo("good")


@db.command()
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--with-keys", is_flag=True, help="Also the keys: then the archive is as secret as they are.")
@settings_option
def backup(archive: Path, with_keys: bool, settings: Path) -> None:
    """Database, shelf, policy repository, published files and settings into ARCHIVE (tar.gz), while the gate runs."""
    if archive.exists():
        raise OperatorError("exists", f"{archive} is there already; choose another name")
    with gate_of(settings) as opened, tempfile.TemporaryDirectory(prefix="gate-backup-") as folder:
        place = Path(folder)
        (place / "tables").mkdir()
        counts = tables.dump(opened.store, place / "tables")
        about = {
            "format": FORMAT,
            "fleet": opened.settings.fleet,
            "schema": tables.revision(opened.store),
            "created_at": SystemClock().now().isoformat(),
            "keys": with_keys,
            "rows": counts,
        }
        (place / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        try:
            part = archive.with_name(archive.name + ".part")
            part.touch(mode=0o600)
            with tarfile.open(part, "w:gz") as tar:
                tar.add(place / "about.json", "about.json")
                tar.add(place / "tables", "tables")
                tar.add(settings, "gate.toml")
                _add_files(tar, opened, with_keys)
            part.rename(archive)
            with opened.store.write() as tx:
                tx.set_mark("backup", opened.clock.now())
        except OSError as problem:
            raise OperatorError("not_written", f"{archive} cannot be written: {problem.strerror}") from problem
    click.echo(f"{archive}: {sum(counts.values())} rows{'' if with_keys else '; the keys are not in it'}")


def _add_files(tar: tarfile.TarFile, opened: Opened, with_keys: bool) -> None:
    """What points comes before what it points to: nothing in the archive then points at what is not there."""
    found = opened.settings
    for name in ("HEAD", "packed-refs", "refs", "config", "objects"):
        if (found.policy / name).exists():
            tar.add(found.policy / name, f"data/policy.git/{name}")
    metadata = found.public / "metadata"
    tar.add(metadata / "timestamp.json", "data/public/metadata/timestamp.json")
    for path in sorted(metadata.glob("*.json")):
        if path.name != "timestamp.json" and path.exists():
            tar.add(path, f"data/public/metadata/{path.name}")
    if (found.public / "content").exists():
        tar.add(found.public / "content", "data/public/content")
    for path in FileShelf(found.shelf).files():
        tar.add(path, f"data/shelf/{path.name}")
    if with_keys:
        tar.add(found.keys, "data/keys")


@db.command()
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--database", help="SQLAlchemy URL of an empty database; empty: SQLite in the folder.")
def restore(archive: Path, folder: Path, database: str | None) -> None:
    """Make a gate in FOLDER (which must not exist) from ARCHIVE."""
    if folder.exists():
        raise OperatorError("exists", f"{folder} is there already: restore into a new folder")
    with tempfile.TemporaryDirectory(prefix="gate-restore-") as temporary:
        place = Path(temporary) / "gate"
        about = _unpack(archive, place)
        if about["schema"] != tables.newest():
            raise OperatorError("bad_backup", f"its schema is {about['schema']}, this gate's is {tables.newest()}")
        folder.mkdir(parents=True)
        for name in ("data", "gate.toml"):
            shutil.move(place / name, folder / name)
        for path in (folder / "data", folder / "data" / "keys"):
            if path.exists():
                path.chmod(0o700)
        url = database or f"sqlite:///{folder.resolve()}/data/gate.db"
        with closing(SqlStore(url)) as store:
            store.upgrade()
            counts = tables.load(store, place / "tables")
        if counts != about["rows"]:
            raise OperatorError("bad_backup", f"the archive says {about['rows']}, restored were {counts}")
    file = folder / "gate.toml"
    said = f'database = "{database or "sqlite:///data/gate.db"}"'
    text = re.sub(r"(?m)^database = .*$", lambda _: said, file.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^data = .*$", 'data = "data"', text)
    file.write_text(text, encoding="utf-8")
    click.echo(f"{file}: {sum(counts.values())} rows, as of {about['created_at']}")
    if not about["keys"]:
        click.echo(f"put the keys into {folder / 'data' / 'keys'} (0600 in 0700) before it is served")


def _unpack(archive: Path, place: Path) -> dict[str, object]:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(place, filter="data")
        about = json.loads((place / "about.json").read_text(encoding="utf-8"))
    except (OSError, tarfile.TarError, EOFError, ValueError) as problem:
        raise OperatorError("bad_backup", f"{archive} is no backup of gate: {problem}") from problem
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise OperatorError("bad_backup", f"{archive} is of another format")
    return about
