"""``gate-agent early``: what is done before anything of a vendor's can load the content in place. No network.

- It counts this boot as a try of the release in hand, durable before it ends: whoever dies afterwards was counted.
- Once as many as the policy's ``tries`` have failed, the release before is put back, the new one is quarantined, and
  the machine comes up; the report waits for the network. Then what did not go back before is tried again: it may hang.
- A recall that a crash interrupted puts back what is here of the release before; the agent ends it, and probes.
- It never fails the boot: whatever goes wrong is said, and the exit code is 0. It is done within ``LIMIT_S``.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import types
from collections.abc import Iterator

from gate.agent.boot import Boot
from gate.agent.diary import PENDING, Boots, Clock, Diary
from gate.agent.errors import AgentError
from gate.agent.hands import Hands
from gate.agent.plugin import Plugin
from gate.agent.settings import AgentSettings
from gate.agent.state import ClaimInHand, StateFolder

LIMIT_S = 20.0
READ_BY_OTHERS = 0o755
"""The agent does not run where others can read its state; a boot is counted, unless others could have written there."""


class Late(BaseException):
    """It has taken too long; no plugin's edge takes it for an answer."""


def early(folder: StateFolder, settings: AgentSettings, clock: Clock, system: Boots) -> str:
    """One sentence about what was done.

    Raises:
        AgentError, OSError: it cannot be done; nothing is half done.
    """
    diary = Diary(folder, settings, clock, system)
    this = diary.boot()
    diary.begin(this)
    known = {one.source for one in (diary.state.claim, *diary.state.going_back) if one is not None}
    known &= settings.plugins.keys()
    hands = Hands(diary, {name: Plugin(settings.plugins[name], settings.targets[name]) for name in sorted(known)})
    claim, said = diary.state.claim, []
    if claim is not None and claim.source in known:
        said += _on_trial(hands, claim, this)
    said += [f"{source} has gone back" for source in hands.back.again(this)]
    return "; ".join(said) or "nothing is on trial"


def _on_trial(hands: Hands, claim: ClaimInHand, this: Boot) -> list[str]:
    if claim.step == "recalling":
        hands.back.put_back(claim)
        return [f"{claim.source}: {claim.recalls[:12]} is recalled"]
    if claim.step not in (*PENDING, "rolling_back"):
        return []
    if hands.count(this) and claim.step != "rolling_back":
        return [f"{claim.source} {claim.version}: try {len(claim.tried)}, of which {claim.tries} may fail"]
    hands.back.roll_back(claim, this)
    return [f"{claim.source} {claim.version} goes: {claim.because}"]


def never_failing(folder: StateFolder, settings: AgentSettings, clock: Clock, system: Boots) -> str:
    """As ``early``; whatever goes wrong is the sentence."""
    try:
        with _in_time():
            if not folder.path.is_dir():
                return "nothing is on trial"
            folder.prepare(READ_BY_OTHERS)
            folder.lock()
            return early(folder, settings, clock, system)
    except (AgentError, OSError) as problem:
        return f"nothing done: {problem}"
    except Late:
        return f"not done within {LIMIT_S:g} s"
    except Exception as problem:  # noqa: BLE001  (the edge: a boot must not fail by us)
        return f"nothing done: {type(problem).__name__}: {problem}"


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    if sys.platform == "win32":  # no alarm there; its service counts a boot in its first round
        yield
        return

    def late(_: int, __: types.FrameType | None) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
