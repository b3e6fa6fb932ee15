"""Going back: by itself after a failed boot or a bad probe, or recalled by the gate. No network.

- ``rolling_back`` and the quarantine are durable first; then the plugin goes back; then the report stands on disk
  together with the end of the claim. Whatever the power does, it is begun again, and ends the same.
- What does not go back is told once (``failed``) and leaves the claim in hand free for other sources. It is kept in
  ``State.going_back`` and tried again: in each boot at once, then after a growing wait of time awake. Once it is gone,
  ``rolled_back`` is told.
- Until then its source takes nothing new; a recall, which can fetch what is missing, is let through (``asking``).
"""

from __future__ import annotations

from collections.abc import Mapping

from gate.agent import boots
from gate.agent.boot import Boot
from gate.agent.diary import Diary
from gate.agent.plugin import Plugin
from gate.agent.state import ClaimInHand, Installed
from gate.agent.texts import clean
from gate.hookspecs import Placed, Placing

FIRST_WAIT_S = 60.0
MOST_WAIT_S = 3600.0
BECAUSE = 300
GONE = "the source is not in agent.toml any more"


class GoingBack:
    """One machine's ways back."""

    def __init__(self, diary: Diary, plugins: Mapping[str, Plugin]) -> None:
        self._diary, self._plugins = diary, plugins

    def begin(self, claim: ClaimInHand, because: str) -> None:
        """The release is bad here, and goes; durable with the next ``save``."""
        claim.step, claim.because = "rolling_back", clean(because, BECAUSE)
        self.quarantine(claim, because)

    def quarantine(self, claim: ClaimInHand, because: str) -> None:
        """This machine never takes it again; durable with the next ``save``."""
        self._diary.state.quarantined[digest(claim.release)] = clean(because, BECAUSE)

    def roll_back(self, claim: ClaimInHand, this: Boot) -> None:
        """Puts the release before in place again, or sees to it that it is tried again."""
        self._went(claim, self._plugins[claim.source].rollback(digest(claim.release), claim.previous), this)

    def without_plugin(self, claim: ClaimInHand, this: Boot) -> None:
        """Its source is not in the settings any more; it goes back once that is there again."""
        self._went(claim, Placed(False, "", GONE), this)

    def later(self, claim: ClaimInHand, this: Boot) -> None:
        """It must go, and cannot now; durable with the next ``save``."""
        state = self._diary.state
        claim.step, claim.attempts = "rolling_back", claim.attempts + 1
        claim.again_boot = this.boot_id
        claim.again_s = this.awake_s + min(FIRST_WAIT_S * 2 ** min(claim.attempts - 1, 20), MOST_WAIT_S)
        if not any(one is claim for one in state.going_back):
            state.going_back.append(claim)
        if state.claim is claim:
            state.claim = None

    def again(self, this: Boot) -> list[str]:
        """Tries again what could not go back before, where its time has come; the sources that have gone back."""
        done = []
        for claim in list(self._diary.state.going_back):
            waits = claim.again_boot == this.boot_id and this.awake_s < claim.again_s
            if claim.source in self._plugins and not waits:
                self.roll_back(claim, this)
                done += [] if any(one is claim for one in self._diary.state.going_back) else [claim.source]
        return done

    def put_back(self, claim: ClaimInHand) -> None:
        """What is recalled gives way to what is here of the release before; the claim stays as it is."""
        self._plugins[claim.source].rollback(claim.recalls, claim.back_to)

    def recall(self, claim: ClaimInHand, placing: Placing | None) -> bool:
        """Puts the release before in place, or none, as the gate asked; what was begun before a crash is done again.

        False: it is not on this machine any more, and must be fetched."""
        plugin, state = self._plugins[claim.source], self._diary.state
        placed = None
        if plugin.in_place() != claim.back_to:
            placed = plugin.install(placing) if placing else plugin.rollback(claim.recalls, claim.back_to)
            if not placed.ok and placing is None and claim.back_to:
                claim.step = "granted"
                state.installed[claim.source].previous = ""
                self._diary.save()
                return False
        probed, answered = plugin.look()
        release = probed.release if answered else placed.release if placed and placed.ok else claim.recalls
        probes = tuple((one.name, one.ok, one.detail) for one in probed.probes)
        if release == claim.back_to:
            state.installed.pop(claim.source, None)
            if claim.back_to:
                state.installed[claim.source] = Installed(claim.back_to, claim.counter)
        good = release == claim.back_to and all(ok for _, ok, _ in probes)
        self._diary.report(claim, "rolled_back" if good else "failed", probes, release)
        self._diary.happened("went_back" if good else "not_gone_back", f"{claim.source}: recalled {claim.recalls[:12]}")
        state.claim = None
        self._diary.save()
        return True

    def _went(self, claim: ClaimInHand, placed: Placed, this: Boot) -> None:
        state, bad = self._diary.state, digest(claim.release)
        have = state.installed.get(claim.source)
        if placed.ok and have is not None and have.release == bad:
            del state.installed[claim.source]
            if claim.previous:
                state.installed[claim.source] = Installed(claim.previous, have.previous_counter)
        if placed.ok or not claim.attempts:
            self._tell(claim, placed)
        if placed.ok or placed.release not in ("", bad):
            state.claim = None if state.claim is claim else state.claim
            state.going_back = [one for one in state.going_back if one is not claim]
        else:
            self.later(claim, this)
            self._diary.say(f"{claim.source}: it goes back still: {clean(placed.detail)}")
        self._diary.save()

    def _tell(self, claim: ClaimInHand, placed: Placed) -> None:
        probes: list[tuple[str, bool, str]] = [("boot-health", False, claim.because)]
        crashes = boots.crashes(boots.since(self._diary.boots(), claim.boot_id))
        probes += [("panic", False, text) for text in crashes]
        probes += [] if placed.ok else [("rollback", False, placed.detail)]
        self._diary.report(claim, "rolled_back" if placed.ok else "failed", probes, placed.release)


def digest(release: str) -> str:
    """The hex digits of a release's id."""
    return release.removeprefix("sha256:")
