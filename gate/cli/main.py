"""The command line: parse, call one flow, render.

- Exit codes: 0 ok, 1 finding, 2 usage (what was asked cannot be read, or does not exist), 3 unreachable, 4 refused.
  Where a rule of the policy refuses, the rule and its line are printed too.
- Read commands take ``-o table|json|yaml``, some ``--at TIME``; long work shows its progress on the terminal.
"""

from __future__ import annotations

import sys

import click

from gate.cli import act, fleet, policy_changes, site_times, start
from gate.cli.audit import audit
from gate.cli.brake import brake, completion
from gate.cli.database import db
from gate.cli.hold import hold
from gate.cli.hours import hours
from gate.cli.look import machine_group, rings, site_group
from gate.cli.mirror import mirror
from gate.cli.morning import morning
from gate.cli.recovery import recovery, site_key
from gate.cli.replay import replay
from gate.cli.shadow import shadow
from gate.cli.simulate import simulate
from gate.cli.sources import lever_group, plugins, source_group, sources
from gate.cli.token import token
from gate.cli.user import user
from gate.core.errors import CallerError, GateError, Malformed, NotFound, Unavailable

EXITS: tuple[tuple[type[GateError], int], ...] = (
    (Malformed, 2),
    (NotFound, 2),
    (CallerError, 4),
    (Unavailable, 3),
    (GateError, 1),
)
"""An error's exit code: that of the first kind that it is."""


class Commands(click.Group):
    """A group whose errors are sentences, never tracebacks."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; a ``GateError`` becomes a line and an exit code."""
        try:
            return super().invoke(ctx)
        except GateError as problem:
            click.echo(f"{problem.kind}: {problem.detail}", err=True)
            if problem.more.get("line"):
                click.echo(f"  policy.yaml:{problem.more['line']}: {problem.more['rule']}", err=True)
            sys.exit(next(code for kind, code in EXITS if isinstance(problem, kind)))


@click.group(cls=Commands)
@click.version_option(package_name="gate")
def main() -> None:
    """gate: content updates reach the next ring only after machines have booted with them and stayed healthy."""


for command in (
    start.demo,
    start.init,
    start.serve,
    start.doctor,
    start.version,
    start.config,
    act.status,
    act.watch,
    act.why,
    brake,
    act.halt,
    act.resume,
    act.recall,
    act.expedite,
    hold,
    morning,
    act.rollouts,
    act.rollout_group,
    act.approve,
    act.waive,
    shadow,
    act.explain,
    audit,
    user,
    token,
    recovery,
    rings,
    site_group,
    machine_group,
    sources,
    source_group,
    lever_group,
    plugins,
    fleet.sites,
    site_times.duty,
    hours,
    fleet.machines,
    fleet.enrol_code,
    mirror,
    db,
    policy_changes.policy,
    simulate,
    replay,
    completion,
):
    main.add_command(command)
site_group.add_command(site_key)
