"""May this machine have something new? The rule, the claim, the rule again, and then the hands.

- Nothing starts after the lease; the rule is asked again with fresh metadata immediately before applying.
- What a claim's policy wants to be probed and this machine does not know how to is refused before anything is touched.
- A claim that cannot be begun is let go, at the latest with its lease: while it is in hand nothing else is asked for.
  What was let go is told before anything new is asked for: a machine has one claim at a time, and the gate refuses a
  second one for ten minutes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from gate.agent import install
from gate.agent.accept import No, Seen, Yes, accept
from gate.agent.boot import Boot
from gate.agent.calls import CheckInAnswer, WritePlane
from gate.agent.diary import Diary
from gate.agent.errors import NoRoom, Refused, Unreachable, Untrusted
from gate.agent.going_back import digest
from gate.agent.hands import Hands
from gate.agent.http import Http
from gate.agent.metadata import Manifest, View
from gate.agent.state import ClaimInHand
from gate.agent.talk import Talk
from gate.agent.times import moment

NOT_SET_UP = timedelta(hours=1)


class Asking:
    """One machine's questions for releases."""

    def __init__(
        self, diary: Diary, talk: Talk, hands: Hands, write: WritePlane, http: Http, machine: str, spool: Path
    ) -> None:
        self._diary, self._talk, self._hands, self._write = diary, talk, hands, write
        self._http, self._machine, self._spool = http, machine, spool
        self._not_before: dict[str, tuple[datetime, int | None]] = {}

    def about(self, source: str, this: Boot, view: View, answer: CheckInAnswer) -> None:
        """Takes what the ring's approval names, where everything allows it."""
        held = self._diary.state.claim
        if held is not None and self._diary.clock() >= moment(held.lease_until):
            self._give_up(held, "the lease has ended")
        try:
            self._consider(source, this, view, answer)
        except Refused as problem:
            self._later(source, view.timestamp_version, timedelta(seconds=problem.retry_after_s))
            self._diary.say(f"{source}: {problem}")
        except (Unreachable, Untrusted) as problem:
            self._diary.say(f"{source}: {problem}")
        except NoRoom as problem:
            install.forget(self._spool)
            self._give_up(self._diary.state.claim, str(problem))
            self._later(source, None, NOT_SET_UP)
            self._diary.say(f"{source}: {problem}")
        except OSError as problem:
            install.forget(self._spool)
            self._diary.say(f"{source}: the machine refuses: {problem}")

    def _consider(self, source: str, this: Boot, view: View, answer: CheckInAnswer) -> None:
        state = self._diary.state
        claim = state.claim
        if claim is not None and (claim.source != source or claim.step not in ("granted", "installed", "booted")):
            return
        if source not in answer.sources:
            self._give_up(claim, "the policy has no such source any more")
            return
        verdict, manifest = self._ask(source, view)
        if isinstance(verdict, Yes) and verdict.action == "recall":
            self._recall(source, verdict, manifest, this, view)
            return
        if claim is not None and claim.step != "granted":
            return
        if any(one.source == source for one in state.going_back):
            self._diary.say(f"{source}: nothing new before what was bad has gone back")
            return
        if isinstance(verdict, No):
            self._give_up(claim, verdict.detail)
            self._diary.say(f"{source}: {verdict.detail}")
            return
        if claim is not None and (claim.release != verdict.release or claim.recalls):
            self._give_up(claim, "another release is approved now")
            claim = None
        have = state.installed.get(source)
        if have is not None and f"sha256:{have.release}" == verdict.release:
            self._diary.say(f"{source}: up to date")
            return
        if digest(verdict.release) in state.quarantined:
            self._diary.say(f"{source}: this release was bad on this machine")
            return
        if claim is None:
            if self._is_later(source, view):
                return
            claim = self._claim(source, verdict, manifest, this, view)
        unknown = sorted(set(claim.probes) - self._diary.settings.probes.keys())
        if unknown:
            self._give_up(claim, f"the policy wants probes that are not set up here: {', '.join(unknown)}")
            self._later(source, None, NOT_SET_UP)
            return
        self._apply(claim, manifest, this)

    def _recall(self, source: str, verdict: Yes, manifest: Manifest, this: Boot, view: View) -> None:
        """Goes back under a claim of its own, or under the one in hand where it is of the recalled release."""
        state = self._diary.state
        bad, claim = digest(verdict.recalls), state.claim
        back_to = "" if verdict.recalls == verdict.release else digest(verdict.release)
        have = state.installed.get(source)
        if have is None or have.release != bad:
            self._give_up(claim, "recalled")
            self._diary.say(f"{source}: a recalled release is not in place here")
            return
        if back_to in state.quarantined:
            self._diary.say(f"{source}: the release to go back to was bad on this machine")
            return
        if claim is not None and claim.step == "granted" and claim.recalls != bad:
            self._give_up(claim, "recalled")
            claim = None
        if claim is None:
            if self._is_later(source, view):
                return
            claim = self._claim(source, verdict, manifest, this, view)
        claim.recalls, claim.back_to, claim.counter = bad, back_to, manifest.counter
        placing = None
        if back_to and have.previous != back_to:
            placing = install.fetch(self._http, manifest, back_to, self._spool)
            again, _ = self._ask(source, self._talk.refresh())
            if isinstance(again, No) or again != verdict:
                self._give_up(claim, "no recall any more")
                return
        if claim.step == "granted" and self._diary.clock() >= moment(claim.lease_until):
            self._give_up(claim, "the lease has ended")
            return
        claim.step = "recalling"
        self._diary.save()
        if self._hands.back.recall(claim, placing):
            install.forget(self._spool)

    def _apply(self, claim: ClaimInHand, manifest: Manifest, this: Boot) -> None:
        placing = install.fetch(self._http, manifest, digest(claim.release), self._spool)
        again, _ = self._ask(claim.source, self._talk.refresh())
        if isinstance(again, No):
            self._give_up(claim, again.detail)
            return
        if again.action != "install" or again.release != claim.release:
            self._give_up(claim, "recalled" if again.action == "recall" else "another release is approved now")
            return
        if self._diary.clock() >= moment(claim.lease_until):
            self._give_up(claim, "the lease has ended")
            return
        self._hands.install(claim, placing, this)
        install.forget(self._spool)

    def _ask(self, source: str, view: View) -> tuple[Yes | No, Manifest]:
        state = self._diary.state
        approved = view.approved(state.ring, source)
        listed = view.catalogued(source, approved.release) if approved else None
        have = state.installed.get(source)
        verdict = accept(
            Seen(
                now=self._diary.clock(),
                refreshed_at=view.refreshed_at,
                issued_at=view.issued_at,
                newest_issued_at=self._diary.newest(),
                source=source,
                ring=state.ring,
                make=state.make,
                machine=self._machine,
                approved=approved,
                catalogued=listed[0] if listed else None,
                bundle=self._talk.bundle,
                override=view.override(state.ring, source) if approved else None,
                installed_counter=have.counter if have else 0,
            )
        )
        return verdict, listed[1] if listed else Manifest(source, "", 0, ())

    def _claim(self, source: str, verdict: Yes, manifest: Manifest, this: Boot, view: View) -> ClaimInHand:
        state = self._diary.state
        while self._diary.let_go():
            self._talk.check_in(this, view)
        found = self._write.claim(state, source, verdict.release, this.boot_id)
        have = state.installed.get(source)
        try:
            claim = ClaimInHand(
                claim=str(found["claim"]),
                source=source,
                release=verdict.release,
                counter=manifest.counter,
                version=manifest.version,
                lease_until=moment(found["lease_until"]).isoformat(),
                granted_at=moment(found["granted_at"]).isoformat(),
                evidence=str(found["evidence"]),
                reboot=str(found["reboot"]),
                stay_up_s=int(found["stay_up_s"]),
                boots=int(found["boots"]),
                boot_id=this.boot_id,
                previous=have.release if have else "",
                tries=max(int(found["tries"]), 1),
                probes=[str(name) for name in found["probes"]],
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise Untrusted("a claim cannot be read") from problem
        state.claim = claim
        self._diary.save()
        return claim

    def _give_up(self, claim: ClaimInHand | None, because: str) -> None:
        """A claim that was not started is let go; the gate learns it from the next check-in."""
        if claim is not None and claim.step == "granted":
            self._diary.not_used(claim, because)

    def _later(self, source: str, version: int | None, wait: timedelta) -> None:
        """Not before ``wait`` is over, or a timestamp of another version is there (None: whatever is signed)."""
        self._not_before[source] = (self._diary.clock() + wait, version)

    def _is_later(self, source: str, view: View) -> bool:
        until, version = self._not_before.get(source, (self._diary.clock(), -1))
        return self._diary.clock() < until and version in (None, view.timestamp_version)
