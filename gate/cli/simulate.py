"""``gate simulate``: a day through the real flows, in virtual time."""

from __future__ import annotations

import json
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gate.bootstrap import read_scenario, seed_policy, simulation
from gate.cli.common import emit, output_option
from gate.sim import run
from gate.sim.results import unmet as unmet_of
from gate.sim.results import without_gate as without


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--without-gate", is_flag=True, help="The same day when every machine takes what the vendor sends.")
@click.option("--repeat", default=1, type=click.IntRange(1, 1000), help="Runs with different seeds.")
@click.option("--seed", type=int, help="Overrides the scenario's seed.")
@output_option
def simulate(
    file: Path, policy_file: Path | None, without_gate: bool, repeat: int, seed: int | None, output: str
) -> None:
    """Run the scenario FILE (a path, or the name of a shipped one); exit code 1 when an expectation fails."""
    scenario = read_scenario(file, seed)
    text = policy_file.read_text(encoding="utf-8") if policy_file else seed_policy()
    results, unmet = [], []
    for number in range(repeat):
        one = scenario if number == 0 else read_scenario(file, scenario.seed + number)
        with tempfile.TemporaryDirectory(prefix="gate-simulate-") as folder:
            sim = simulation(one, text, Path(folder))
            if without_gate:
                results.append(without(one, sim.world))
                continue
            result = _with_progress(sim)
            results.append(result)
            unmet.extend(unmet_of(one, result))
    answer = results[0] if repeat == 1 else _spread(results)
    if output != "table":
        emit(answer, output)
    else:
        _show(answer)
    for sentence in unmet:
        click.echo(f"not as expected: {sentence}", err=True)
    if unmet or any(result.get("promises_broken") for result in results):
        raise SystemExit(1)


def _with_progress(sim: run.Simulation) -> dict[str, Any]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(sim.scenario.name, total=1.0)
        return sim.run(lambda done: progress.update(task, completed=done))


def _spread(results: list[dict[str, Any]]) -> dict[str, Any]:
    """mean, min and max of every figure over the runs."""
    flat = [_figures(result) for result in results]
    names = sorted({name for figures in flat for name in figures})
    spread = {}
    for name in names:
        values = [figures.get(name, 0.0) for figures in flat]
        spread[name] = {"mean": statistics.fmean(values), "min": min(values), "max": max(values)}
    return {"runs": len(results), "figures": spread}


def _figures(result: dict[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in result.items():
        if isinstance(value, bool):
            continue
        if isinstance(value, int | float):
            found[prefix + name] = float(value)
        elif isinstance(value, list) and name == "releases":
            for release in value:
                found |= _figures(release, f"{prefix}{release['version']}.")
    return found


def _show(answer: dict[str, Any]) -> None:
    console = Console()
    if "releases" not in answer:
        console.print_json(json.dumps(answer))
        return
    fleet = answer["fleet"]
    console.print(f"{answer['scenario']}: {fleet['machines']} machines of {fleet['sites']} sites")
    for release in answer["releases"]:
        said = f"release {release['version']}: {release['state']}, {release['exposed']} exposed, "
        said += f"{release['bricked']} bricked, {release['healthy']} healthy, {release['silent']} silent"
        console.print(said)
        if release["halted_at"]:
            console.print(f"  halted at {_moment(release['halted_at'])} by {release['halted_by']}")
        shown = Table("ring", "opened (UTC)", "exposed", "bricked")
        for ring in release["rings"]:
            shown.add_row(ring["name"], _moment(ring["opened_at"]), str(ring["exposed"]), str(ring["bricked"]))
        console.print(shown)
    console.print(f"sites without a till: {answer['sites_without_till']}, affected: {answer['sites_affected']}")


def _moment(at: str | None) -> str:
    return f"{datetime.fromisoformat(at):%d %b %H:%M} UTC" if at else "-"
