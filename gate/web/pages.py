"""What people look at: one function a page; each reads in one transaction, renders, and changes nothing."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Response, g, render_template, request

from gate.core import background, explained, lists, policy_explain, said_texts, stats
from gate.core.boot_times import NEEDED
from gate.core.errors import NotFound
from gate.core.lists import MachineList
from gate.core.model import FLEET, Budget, Claim, Machine, Rollout, RolloutState, Stratum
from gate.core.policy import Policy
from gate.flows import expedite, explain, observed, people, sentences, shadow, shadow_words
from gate.flows import why as reasons
from gate.ports import Proposal, Tx
from gate.web import morning as mornings
from gate.web import stopped
from gate.web.beside import Made
from gate.web.cut import cut
from gate.web.rollout_lines import Line, ages, lines_of, open_proposal, said_of, sources_of, version_of

PAGE = 50
LONGEST = 200
MAKES = 30


def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", mimetype="text/plain")


def readyz() -> Response:
    """Database, policy, keys, and whether somebody works; a line each, and 503 where one is not well."""
    found = g.parts.ready()
    good = all(well for _, well, _ in found)
    lines = [f"{'good' if well else 'BAD'}  {what}: {sentence}" for what, well, sentence in found]
    text = "\n".join([*lines, "ready" if good else "not ready"]) + "\n"
    return Response(text, 200 if good else 503, mimetype="text/plain")


def metrics() -> Response:
    """What has been counted, for Prometheus; needs the bearer token of the settings."""
    said = request.headers.get("Authorization", "")
    if g.parts.metrics is None or not hmac.compare_digest(said.encode(), f"Bearer {g.parts.metrics_token}".encode()):
        raise NotFound("there is no such page")
    return Response(g.parts.metrics(), mimetype="text/plain")


def rollout(rollout_id: str) -> str:
    """One rollout: ladder, evidence per ring and make, exposure, failures, decisions, events."""
    with g.parts.store.read() as tx:
        found = tx.rollout(rollout_id)
        if found is None:
            raise NotFound(f"there is no rollout {rollout_id}")
        (line,) = lines_of(tx, [found])
        policy = g.parts.gate.policy(found.policy_version)
        made = stopped.back(tx, found)
        return render_template(
            "rollout.html",
            line=line,
            rollout=found,
            release=tx.release(found.release),
            zone=policy.zone,
            said_of=said_of,
            line_of=lambda rule, version: g.parts.gate.policy(version).line_of(rule),
            **_standing(tx, found, policy, line, made),
            **_evidence(tx, found, policy),
            **_back(made),
            **_failed(tx, found),
            **_asked_of_people(tx, found, policy, line),
            **_happened(tx, found),
        )


def _standing(tx: Tx, found: Rollout, policy: Policy, line: Line, made: Made[stopped.Back]) -> dict[str, Any]:
    """Why it stands where it does, what it waits for, how it ended."""
    waiting = explain.waiting(tx, g.parts.gate, found, g.now)
    said = sentences.standing(tx, g.parts.gate, found, g.now, g.language)[1:]
    if found.state is RolloutState.RECALLED and made.found is not None:
        said.append(sentences.recalled(made.found.holders, g.language))
    reasons = waiting[-1].reasons()[:3] if waiting else []
    now = "; ".join(explained.sentence(one, g.language, policy.zone) for one in reasons)
    return {
        "said": said,
        "stands": now if waiting else "" if found.state in (RolloutState.RUNNING, RolloutState.HALTED) else line.stands,
        "waiting": waiting,
        "needs": {one.ring: cut(f"needs-{one.ring}", one.makes, lambda row: row.make, MAKES) for one in waiting},
        "ended": sentences.ended(tx, found, g.language),
        "halted_because": said_texts.halted(found.halted_because, found.halted_by, g.language),
        "halted_line": policy.line_of(found.halted_by) if found.halted_by else 0,
        "dark": tx.dark_sites(found.id),
        "ages": ages(tx, found.source),
        "bypasses": observed.bypasses(tx, source=found.source),
    }


def _evidence(tx: Tx, found: Rollout, policy: Policy) -> dict[str, Any]:
    """What its rings and makes have shown against their bounds, and how far it may spread."""
    strata = sorted(tx.strata(found.id), key=lambda one: (policy.index(one.ring), one.make))
    if len(strata) > MAKES:
        strata.sort(key=_worst_first)
    evidence = [one for one in strata if one.exposed or one.late_failed]
    idle = [one for one in strata if not (one.exposed or one.late_failed)]
    budgets = [one for one in tx.budgets(found.id) if one.in_flight or one.healthy or one.failed]
    return {
        "evidence": cut("evidence", evidence, _cell, MAKES),
        "idle": cut("idle", idle, _cell, MAKES),
        "idle_all": len(idle),
        "budgets": cut("budgets", sorted(budgets, key=_stopped_first), lambda one: one.make, MAKES),
        "bound_of": lambda one: _bound(one.healthy, one.unexplained, one.pending, policy),
        "origin": background.origin(policy, found.background),
        "watched": tx.count_watched(found.id),
    }


def _back(made: Made[stopped.Back]) -> dict[str, Any]:
    """Where it is halted or recalled: who still has it, and how who is out of reach comes back."""
    back = made.found or stopped.NOBODY
    return {
        "made": made,
        "ways": back.ways,
        "sheets": cut("sheets", list(back.sheets.items()), lambda one: one[0], MAKES),
        "holders": cut("holders", back.holders, lambda one: one.site, PAGE),
    }


def _failed(tx: Tx, found: Rollout) -> dict[str, Any]:
    """What has failed, and what people have explained."""
    failures, more = _failures(tx, found)
    left = tx.attributions(found.id)
    return {
        "failures": [(claim, _name(tx, claim.machine)) for claim, _ in failures],
        "more_failures": more,
        "attributions": cut("attributions", left, lambda one: f"{one.kind}~{one.machine}~{one.claim}", PAGE),
        "explained_by": {one.claim: one for one in left if one.kind == "explained"},
    }


def _asked_of_people(tx: Tx, found: Rollout, policy: Policy, line: Line) -> dict[str, Any]:
    """What waits for people's word, and what they may do."""

    def wants_people(ring: str) -> bool:
        return policy.settings_for(ring, found.source).wants_people

    return {
        "proposal": open_proposal(tx, found),
        "recall": open_proposal(tx, found, "recall"),
        "lane": expedite.lane(tx, g.parts.gate, found, g.now),
        "lane_said": policy_explain.lane(policy, g.language),
        "needing": [step for step in line.steps if wants_people(step.ring) and not step.open],
        "waivers": _waivers(tx, found),
    }


def _happened(tx: Tx, found: Rollout) -> dict[str, Any]:
    """Its newest decisions and events."""
    return {"decisions": tx.decisions(found.id, 20), "events": tx.events(subject=found.id, limit=40)}


def _failures(tx: Tx, rollout: Rollout) -> tuple[list[tuple[Claim, bool]], str]:
    """A page of what has failed, and the word of the address for the next one. What somebody explains in the meantime
    moves to the end, and takes nothing along."""
    said, after = lists.after_of(request.args.get("failures", "")[:LONGEST], "") or ("", "")
    last = tx.claim(after) if after else None
    begin = (last, said == "1") if last is not None and last.rollout == rollout.id else None
    found = tx.failures(rollout.id, PAGE + 1, begin)
    if len(found) <= PAGE:
        return found, ""
    claim, explained = found[PAGE - 1]
    return found[:PAGE], lists.key(int(explained), claim.id)


def why() -> str | tuple[str, int]:
    """Why does this machine not have it? Without one: which?"""
    machine, source = request.args.get("machine", "").strip(), request.args.get("source", "")
    with g.parts.store.read() as tx:
        found = tx.machine(machine) or _only_one_named(tx, machine)
        if found is None:
            return render_template("why.html", asked=machine, answers=()), 404 if machine else 200
        answers = [reasons.why(tx, g.parts.gate, found.id, name, g.now, g.language) for name in sources_of(source)]
    return render_template("why.html", machine=found, answers=answers)


def _only_one_named(tx: Tx, name: str) -> Machine | None:
    named = [one for one in tx.list_machines(MachineList(text=name), PAGE) if one.name == name] if name else []
    return named[0] if len(named) == 1 else None


def shadowed() -> str:
    """Where people open the rings: the gate's word beside theirs, how it ended, what has been learned."""
    with g.parts.store.read() as tx:
        found = shadow.look(tx, g.parts.gate)
    said = [*shadow_words.summary(found, g.language), *shadow_words.learned_sentences(found.learned, g.language)]
    halts = [(one, shadow_words.halt_sentence(one, g.language)) for one in found.halts]
    return render_template("shadow.html", found=found, said=said, halts=halts, needed=NEEDED)


def brake() -> str:
    """The brake: scope and reason."""
    with g.parts.store.read() as tx:
        moving = tx.rollouts(states=people.MOVING, limit=PAGE)
        lines = [(one, version_of(tx, one)) for one in moving]
    return render_template("brake.html", lines=lines, chosen=request.args.get("rollout", ""))


def _worst_first(one: Stratum) -> tuple[int, int]:
    return -one.unexplained, -one.exposed


def _stopped_first(one: Budget) -> tuple[bool, bool, int, int, str]:
    return one.make != FLEET, not one.stopped, -one.failed, -one.in_flight, one.make


def _cell(one: Stratum) -> str:
    return f"{one.ring}~{one.make}"


def _waivers(tx: Tx, rollout: Rollout) -> dict[str, Proposal | None]:
    """The rings whose gate two people may set aside, each with the proposal that stands."""
    if rollout.state is not RolloutState.RUNNING:
        return {}
    rings = [one for one in tx.rings(rollout.id) if 0 < one.position <= rollout.reached + 1 and one.waived_at is None]
    found = [one for one in tx.proposals("open", rollout.id, g.now) if one.kind == "waive"]
    exact = {one.ring: shadow.bound(tx, rollout, one.ring) for one in rings}
    return {ring: next((one for one in found if one.sha256 == text), None) for ring, text in exact.items()}


def _bound(healthy: int, bad: int, pending: int, policy: Policy) -> float:
    """The upper bound on the failure rate, at the policy's confidence."""
    return stats.upper_bound(healthy, bad, pending, policy.defaults.confidence)


def _name(tx: Tx, machine_id: str) -> str:
    found = tx.machine(machine_id)
    return found.name if found else machine_id


GET = ["GET"]
VIEWS = (
    ("/morning", mornings.morning, "view", GET),
    ("/rollouts/<rollout_id>", rollout, "view", GET),
    ("/why", why, "view", GET),
    ("/shadow", shadowed, "view", GET),
    ("/brake", brake, "view", GET),
    ("/healthz", healthz, "public", GET),
    ("/readyz", readyz, "public", GET),
    ("/metrics", metrics, "public", GET),
)
