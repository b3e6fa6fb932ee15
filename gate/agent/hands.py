"""What the agent does to its machine, step by step; each step stands on disk before the act. No network.

- Install: the claim in hand is ``installing``, durable, before the plugin is called; the plugin puts the content in
  place by a rename; then the claim is ``installed``. After a crash in between the plugin is asked what is in place.
- A boot under a claim that is not settled is a *try*, counted by ``gate-agent early`` before anything can load the
  content. Good is written down only after ``stay_up`` and the probes (``health``).
- Going back is ``going_back``'s. A claim whose source stands in the settings no more is let go: it blocks no other.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from gate.agent import boots, health
from gate.agent.boot import Boot
from gate.agent.commands import run
from gate.agent.diary import PENDING, Answers, Diary
from gate.agent.going_back import GONE, GoingBack, digest
from gate.agent.health import Health, Raw, Word
from gate.agent.plugin import Plugin
from gate.agent.state import ClaimInHand, Installed
from gate.hookspecs import Placing

REBOOT_S = 60.0
CLEAN_MOST = 10
"""Boots that may end as planned, on top of ``tries``, before one has stayed up: something restarts this machine."""
Asked = Callable[[list[str]], tuple[health.Probe, ...]]


class Hands:
    """One machine's plugins, and the claim in hand. ``unproven``: the source whose releases this process proves nothing
    about, since it does not run them (``itself``)."""

    def __init__(
        self, diary: Diary, plugins: Mapping[str, Plugin], asked: Asked = lambda _: (), unproven: str = ""
    ) -> None:
        self._diary, self._plugins, self._asked, self._unproven = diary, plugins, asked, unproven
        self.back = GoingBack(diary, plugins)
        self.rebooting = False

    # after a crash

    def resume(self, this: Boot) -> None:
        """Finishes what was begun before."""
        claim = self._diary.state.claim
        if claim is not None:
            if claim.source not in self._plugins:
                self._let_go(claim, this)
            elif claim.step == "installing":
                self._installing(claim, this)
            elif claim.step == "rolling_back":
                self.back.roll_back(claim, this)
            elif claim.step == "recalling":
                self.back.recall(claim, None)
        self.back.again(this)

    def _installing(self, claim: ClaimInHand, this: Boot) -> None:
        in_place = self._plugins[claim.source].in_place()
        if in_place is None:
            self._diary.say(f"{claim.source}: what is in place is not known")
        elif in_place == digest(claim.release):
            if this.boot_id != claim.boot_id:  # put in place before this boot: nobody of us has done it since
                self._diary.state.at_boot[claim.source] = digest(claim.release)
            self.installed(claim)
        else:
            claim.step = "granted"
            claim.tried = []  # it was never in place: no boot so far has tried it
            self._diary.save()

    def _let_go(self, claim: ClaimInHand, this: Boot) -> None:
        """Nobody here can do anything for its source any more."""
        if claim.step == "rolling_back":
            self.back.without_plugin(claim, this)
            return
        if claim.step == "granted":
            self._diary.not_used(claim, GONE)
            return
        self._diary.report(claim, "failed", (("source", False, GONE),), "")
        self._diary.state.claim = None
        self._diary.save()

    # install

    def install(self, claim: ClaimInHand, placing: Placing, this: Boot) -> None:
        """Puts a release in place under a claim."""
        count = self._diary.system.boot_count()
        claim.step, claim.boot_id = "installing", this.boot_id
        claim.awake_then_s, claim.boots_then = this.awake_s, -1 if count is None else count
        self._diary.save()
        plugin = self._plugins[claim.source]
        placed = plugin.install(placing)
        if placed.ok and placed.release == digest(claim.release):
            self.installed(claim)
            return
        self._diary.report(claim, "failed", (("install", False, placed.detail),), placed.release)
        self.back.begin(claim, placed.detail or "not put in place")
        in_place = None if plugin.hangs else plugin.in_place()
        if in_place is None:
            self.back.later(claim, this)  # it may be in place, or be put there yet
        elif in_place == digest(claim.release):
            self._diary.save()
            self.back.roll_back(claim, this)
        self._diary.state.claim = None
        self._diary.save()

    def installed(self, claim: ClaimInHand) -> None:
        """It is in place: what it took the place of is remembered."""
        state = self._diary.state
        before, new = state.installed.get(claim.source), digest(claim.release)
        if before is None or before.release != new:
            known = (before.release, before.counter) if before else ("", 0)
            state.installed[claim.source] = Installed(new, claim.counter, *known)
        claim.step = "installed"
        self._diary.report(claim, "installed", (), new)
        self._diary.save()

    # tries

    def count(self, this: Boot) -> bool:
        """Writes down that this boot tries the release in hand; False: enough of them have failed, it must go back."""
        claim = self._diary.state.claim
        if claim is None or claim.step not in PENDING or this.boot_id == claim.boot_id or this.boot_id in claim.tried:
            return True
        known = {one.boot_id: one for one in self._diary.boots()}
        failed = [one for one in claim.tried if one not in known or known[one].ended != "clean"]
        install = known.get(claim.boot_id)
        if install is not None and install.cause == boots.Cause.CRASH:
            failed.insert(0, install.boot_id)
        if len(failed) < claim.tries and len(claim.tried) < claim.tries + CLEAN_MOST:
            claim.tried.append(this.boot_id)
            self._diary.save()
            return True
        ended = failed if len(failed) >= claim.tries else claim.tried
        self.back.begin(claim, f"{len(ended)} boots did not stay up: {', '.join(ended)}"[:300])
        self._diary.save()
        return False

    # proof

    def heard(self) -> None:
        """The gate has answered this process, and what it has signed was read: without that, no release of the agent's
        own is proven, since nobody could ever take it back."""
        claim, itself = self._diary.state.claim, self._diary.settings.itself
        if claim is not None and claim.source == itself != self._unproven and not claim.heard:
            claim.heard = True
            self._diary.save()

    def progress(self, this: Boot) -> None:
        """Looks whether the release in hand is good now."""
        claim = self._diary.state.claim
        if claim is None or claim.step not in ("installed", "booted") or claim.source not in self._plugins:
            return
        if claim.source == self._unproven:
            return
        if claim.source == self._diary.settings.itself and not claim.heard:
            self._diary.say(f"{claim.source}: the gate has not answered it yet")
            return
        if claim.evidence == "boot" and claim.step == "installed":
            at_boot = self._diary.state.at_boot.get(claim.source, "")
            if this.boot_id == claim.boot_id or at_boot != digest(claim.release):
                self._reboot(claim)
                return
            claim.step = "booted"
            self._diary.report(claim, "booted", (), self._plugins[claim.source].probe().release)
            self._diary.save()
        if self.waits_s(claim, this) > 0:
            return
        found, probes, release = self._judged(claim, this)
        if found.word is Word.UNKNOWN:
            self._diary.say(f"{claim.source}: {found.because}")
            return
        self._diary.report(claim, "healthy" if found.word is Word.GOOD else "unhealthy", probes, release)
        if found.word is Word.BAD:
            self.back.begin(claim, found.because)
            self._diary.save()
            self.back.roll_back(claim, this)
            return
        claim.boots_good += 1
        if claim.evidence == "boot" and claim.boots_good < claim.boots:
            claim.step, claim.boot_id, claim.tried = "installed", this.boot_id, []
        else:
            self._diary.state.claim = None
        self._diary.save()

    def waits_s(self, claim: ClaimInHand, this: Boot) -> float:
        """Seconds until it has been awake long enough, since the boot or the installation."""
        return claim.stay_up_s - _awake_under(claim, this)

    def _judged(self, claim: ClaimInHand, this: Boot) -> tuple[Health, Answers, str]:
        probed = self._plugins[claim.source].probe()
        probes = [health.Probe(one.name, one.ok, one.detail) for one in probed.probes]
        probes += self._asked(claim.probes)
        running, known = self._diary.system.running(), boots.since(self._diary.boots(), claim.boot_id)
        crashes = boots.crashes(known)
        raw = Raw(
            wanted=digest(claim.release),
            in_place=probed.release,
            needs_boot=claim.evidence == "boot",
            booted_since=this.boot_id != claim.boot_id,
            in_place_at_boot=self._diary.state.at_boot.get(claim.source),
            awake_s=_awake_under(claim, this),
            stay_up_s=claim.stay_up_s,
            tries=claim.tries,
            probes=tuple(probes),
            crashes=crashes,
            lost_boots=boots.lost(claim.boots_then, self._diary.system.boot_count(), len(known) - 1),
            system=running.system,
            fast_start=running.fast_start,
            safe_mode=running.safe_mode,
        )
        said = [(one.name, one.ok is True, one.detail) for one in probes]
        said += [("panic", False, text) for text in crashes]
        said += [] if running.ready_s is None else [("ready", True, f"after {running.ready_s:.1f} s")]
        return health.judge(raw), said, probed.release

    def _reboot(self, claim: ClaimInHand) -> None:
        """``reboot: after install``, once the gate knows that it is installed."""
        command = self._diary.settings.reboot
        if claim.reboot != "after install" or not command or self._diary.state.reports:
            return
        self.rebooting = True
        run(shlex.split(command), REBOOT_S)  # the person's own command


def _awake_under(claim: ClaimInHand, this: Boot) -> float:
    """Seconds awake under the release: no wall clock has a part in it."""
    if claim.evidence == "boot" or this.boot_id != claim.boot_id:
        return this.awake_s
    return this.awake_s - claim.awake_then_s
