"""What is said to the gate and heard from it: the refresh, the check-in, reports in their order.

- Each part may fail without the others; what was to be said stays in the diary.
- An answer counts only where it is signed (the check-in's) or says what was asked (a report's claim): a page that asks
  for a login, with 200, is not the gate.
- What the gate cannot read is never said for ever: such a report is dropped with an event, and a sign of life is given
  without its events, then without its facts.
- What a machine's own software takes from the mirror is only looked at, and said with each check-in (``watched``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gate.agent import watched
from gate.agent.accept import Bundle
from gate.agent.boot import Boot
from gate.agent.calls import CheckInAnswer, WritePlane
from gate.agent.diary import Diary
from gate.agent.errors import Refused, Unreachable, Untrusted
from gate.agent.metadata import ReadPlane, View
from gate.agent.plugin import Plugin
from gate.agent.times import moment, wire

EVENTS_A_CALL = 32
UNREADABLE = ("bad_json", "bad_envelope", "bad_field", "too_large")
FINAL = ("illegal_step", "unknown_claim", *UNREADABLE)
"""Refusals of a report that stay so."""


class Talk:
    """One machine's talk with its gate."""

    def __init__(self, diary: Diary, read: ReadPlane, write: WritePlane, plugins: Mapping[str, Plugin]) -> None:
        self._diary, self._read, self._write, self._plugins = diary, read, write, plugins
        self.bundle: Bundle | None = None
        self.later_s = 0  # the gate asked for so many seconds, in its answer to the last check-in

    def poll(self, this: Boot) -> tuple[View | None, CheckInAnswer | None]:
        """The signed state, and the answer to a sign of life; None is what could not be had."""
        view = answer = None
        state, self.later_s = self._diary.state, 0
        try:
            view = self.refresh()
            self.bundle, state.response_key = view.bundle()
        except (Unreachable, Untrusted) as problem:
            self._diary.happened("metadata", str(problem))
            view = None
        if not state.response_key:
            return None, None
        try:
            answer = self.check_in(this, view)
        except Refused as problem:
            self._diary.say(str(problem))
            self.later_s = problem.retry_after_s
            state.status = problem.kind if problem.kind == "pending" else state.status
        except (Unreachable, Untrusted) as problem:
            self._diary.say(str(problem))
        if answer is not None and view is not None and answer.timestamp_version > view.timestamp_version:
            view = self._look_again(answer)
        return view, answer

    def refresh(self) -> View:
        """The metadata as it is now.

        Raises:
            Unreachable, Untrusted.
        """
        state = self._diary.state
        etag, state.etag = state.etag, ""
        view, tag = self._read.refresh(etag, self._diary.clock())
        if view.issued_at < self._diary.newest():
            raise Untrusted(f"a timestamp of {wire(view.issued_at)}, older than one that was seen before")
        state.newest_issued_at, state.etag = view.issued_at.isoformat(), tag
        self._diary.save()
        return view

    def check_in(self, this: Boot, view: View | None, last: Mapping[str, str] | None = None) -> CheckInAnswer:
        """A sign of life; ``last`` is said after all other events.

        Raises:
            Refused, Unreachable, Untrusted.
        """
        state = self._diary.state
        sent = state.events[: EVENTS_A_CALL - 1]
        final = [last] if last else []
        facts = self._diary.facts(self._observed(view))
        fields = {
            "boot_id": this.boot_id,
            "uptime_s": round(this.uptime_s, 1),
            "installed": {source: f"sha256:{one.release}" for source, one in state.installed.items()},
            "timestamp_version": view.timestamp_version if view else 0,
        }
        said = [[*sent, *final], final]
        ways = [{"facts": these, "events": events} for these in (facts, {}) for events in said]
        answer, dropped = self._readable(fields, ways)
        del state.events[: len(sent)]
        if dropped:
            self._diary.happened("check_in_refused", f"said without its events or facts: {dropped}")
        state.ring, state.make, state.status = answer.ring, answer.make, answer.status
        self._diary.prune(moment(answer.server_time))
        self._diary.save()
        return answer

    def _readable(self, fields: dict[str, Any], ways: list[dict[str, Any]]) -> tuple[CheckInAnswer, str]:
        """The answer to the first of these ways that the gate can read, and why it could not read the one before."""
        state, because = self._diary.state, ""
        for more in ways[:-1]:
            try:
                return self._write.check_in(state, state.response_key, fields | more), because
            except Refused as problem:
                if problem.kind not in UNREADABLE:
                    raise
                because = str(problem)
        return self._write.check_in(state, state.response_key, fields | ways[-1]), because

    def send(self) -> None:
        """Reports in order; one that the gate refuses for good is dropped with an event."""
        state = self._diary.state
        while state.reports and state.challenge:
            said = {name: value for name, value in state.reports[0].items() if name != "kept_at"}
            try:
                self._write.report(state, said)
            except Refused as problem:
                if problem.kind not in FINAL:
                    self._diary.say(str(problem))
                    return
                self._diary.happened("report_refused", str(problem))
            except (Unreachable, Untrusted) as problem:
                self._diary.say(str(problem))
                return
            del state.reports[0]
            self._diary.save()

    def go_back_by_mirror(self, source: str, view: View) -> None:
        """A recalled release that still runs: its software is made to fetch anew, where it would not by itself."""
        try:
            recall = watched.recall(view, self._diary.state.ring, source, self._diary.state.installed)
        except (Unreachable, Untrusted) as problem:
            self._diary.say(f"{source}: {problem}")
            return
        if recall is not None:
            placed = self._plugins[source].rollback(*recall)
            kind = "went_back" if placed.ok else "not_gone_back"
            self._diary.happened(kind, f"{source}: {placed.detail or recall[1][:12]}")

    def _look_again(self, answer: CheckInAnswer) -> View | None:
        """The gate knows a newer timestamp than the file server showed."""
        try:
            view = self.refresh()
        except (Unreachable, Untrusted) as problem:
            self._diary.happened("metadata", str(problem))
            return None
        if view.timestamp_version >= answer.timestamp_version:
            return view
        said = f"timestamp {view.timestamp_version} is served, the gate has {answer.timestamp_version}"
        self._diary.happened("freeze", said)
        return None

    def _observed(self, view: View | None) -> dict[str, str]:
        """What the software of this machine runs that takes its content by itself, as facts."""
        facts: dict[str, str] = {}
        state = self._diary.state
        for source in sorted(self._diary.settings.watched):
            probed = self._plugins[source].probe()
            facts |= watched.facts(source, probed)
            if view is None:
                continue
            try:
                found = watched.installed(view, state.ring, source, probed.version, state.installed)
            except (Unreachable, Untrusted) as problem:
                self._diary.say(f"{source}: {problem}")
                continue
            if found is None and state.installed.pop(source, None) is not None:
                said = f"{source}: {probed.version or 'nothing'} runs, which no ring names"
                self._diary.happened("not_released", said)
            elif found is not None:
                state.installed[source] = found
        return facts
