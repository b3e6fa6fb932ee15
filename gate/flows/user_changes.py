"""People and roles change by two people's word: who proposes, and another who does the same.

- Add, disable, another role, a new link: each is bound to the person as they are now; where they change, it is void.
- What would leave an act of two people with fewer than two who may do it is refused, and so is what would leave a ring
  with fewer approvers than the policy asks for; a new policy asks for no more than there are.
- The one-time link is shown once, to whoever makes it act. At the server's own shell one person is enough (``gate
  user``): somebody must be able to add the second, and to shut out a stolen account at night.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

from gate.core.errors import Conflict, Malformed, NotFound
from gate.core.policy import LANE, Policy
from gate.flows import people
from gate.flows.agreement import TWO_PEOPLE, agreed, reason_given
from gate.ports import Proposal, Tx, User

KIND = "user_change"


class Act(StrEnum):
    """What may be done with a person."""

    ADD = "add"
    """A new person with a name and a role."""
    ROLE = "role"
    """Another role."""
    DISABLE = "disable"
    """They may not log in any more."""
    LINK = "link"
    """A new one-time link: they choose a new password."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is wanted; ``name`` is for ADD, ``role`` for ADD and ROLE."""

    act: Act
    login: str
    role: str = ""
    name: str = ""

    def fields(self) -> dict[str, str]:
        """As an event carries them."""
        return {"act": self.act.value, "role": self.role, "name": self.name}


@dataclass(frozen=True, slots=True)
class Open:
    """A change that waits for another person."""

    proposal: Proposal
    change: Change


def change(
    tx: Tx, wanted: Change, link: str, policy: Policy | None, by: str, because: str, now: datetime
) -> Proposal | None:
    """Proposes the change; None where another person had, and it is made. ``link`` is the secret of the one-time link
    that ADD and LINK make.

    Raises:
        Malformed: no reason, no such role, a bad name. NotFound: no such person.
        Conflict: taken, unchanged, needs_people (the proposer asks again, or too few would be left).
    """
    reason_given(because)
    everybody = tx.users_in_turn()
    before = next((one for one in everybody if one.id == wanted.login), None)
    _check(wanted, before)
    _enough(everybody, wanted, policy)
    proposal = agreed(tx, KIND, _subject(wanted.login), bound(wanted, before), because, by, now, wanted.fields())
    if proposal is not None:
        return proposal
    match wanted.act:
        case Act.ADD:
            people.add_user(tx, wanted.login, wanted.name, wanted.role, link, by, now)
        case Act.LINK:
            people.new_link(tx, wanted.login, link, by, now)
        case Act.DISABLE:
            people.disable_user(tx, wanted.login, by, now)
        case Act.ROLE:
            change_role(tx, wanted.login, wanted.role, by, because, now)
        case _:
            assert_never(wanted.act)
    return None


def change_role(tx: Tx, login: str, role: str, by: str, because: str, now: datetime) -> User:
    """Another role; open sessions end, so that nobody goes on with the old one.

    Raises:
        NotFound: no such person.
    """
    user = tx.user(login)
    if user is None:
        raise NotFound(f"there is no user {login}")
    after = replace(user, role=role)
    tx.save_user(after)
    tx.drop_web_sessions(user=login)
    tx.append("user_role_changed", by, login, now, {"was": user.role, "role": role}, because)
    return after


def waiting(tx: Tx, now: datetime) -> list[Open]:
    """The changes that wait for another person, newest first; void ones are left out."""
    found = []
    for one in tx.proposals("open", now=now):
        if one.kind != KIND:
            continue
        for event in tx.events(subject=one.subject, limit=50):
            if event.kind == f"{KIND}_proposed" and event.detail.get("sha256") == one.sha256:
                login = one.subject.removeprefix("user:")
                said = {name: str(event.detail.get(name, "")) for name in ("role", "name")}
                wanted = Change(Act(event.detail["act"]), login, **said)
                if bound(wanted, tx.user(login)) == one.sha256:
                    found.append(Open(one, wanted))
                break
    return found


def bound(wanted: Change, before: User | None) -> str:
    """What the signatures are bound to: this change of this person as they are now."""
    now = [before.role, before.disabled, before.password_hash] if before else []
    return people.digest(json.dumps([KIND, wanted.login, wanted.fields(), now]))


def _subject(login: str) -> str:
    return f"user:{login}"


def _check(wanted: Change, before: User | None) -> None:
    if wanted.act in (Act.ADD, Act.ROLE) and wanted.role not in people.ROLES:
        raise Malformed("bad_field", f"a role is one of {', '.join(people.ROLES)}")
    if wanted.act is Act.ADD:
        people.check_login(wanted.login)
        if before is not None:
            raise Conflict("taken", f"{wanted.login} exists")
        return
    if before is None:
        raise NotFound(f"there is no user {wanted.login}")
    if before.disabled or (wanted.act is Act.ROLE and before.role == wanted.role):
        raise Conflict("unchanged", f"{wanted.login} is disabled, or has this role already")


def _enough(before: Sequence[User], wanted: Change, policy: Policy | None) -> None:
    """Nobody leaves an act with fewer people than it needs."""
    if wanted.act not in (Act.ROLE, Act.DISABLE):
        return
    role = wanted.role if wanted.act is Act.ROLE else ""
    changed = {
        one.id: replace(one, role=role or one.role, disabled=not role) for one in before if one.id == wanted.login
    }
    after = [changed.get(one.id, one) for one in before]
    for act, least in needed(policy).items():
        left = len(_holders(after, act))
        if left < least and left < len(_holders(before, act)):
            raise Conflict(
                "needs_people", f"{act} needs {least} people, and {left} would be left who may", **_ruled(policy, act)
            )


def refuse_too_many(tx: Tx, old: Policy, new: Policy) -> None:
    """No new policy asks for more people than there are; what it asked for before is no reason.

    Raises:
        Conflict: needs_people.
    """
    was = needed(old)
    for act, least in needed(new).items():
        there = len(_holders(tx.users(), act)) if least > was[act] else least
        if there < least:
            raise Conflict(
                "needs_people", f"{act} needs {least} people, and there are {there} who may", **_ruled(new, act)
            )


def needed(policy: Policy | None) -> dict[str, int]:
    """act -> how many different people it takes, by the code and by the policy's rings."""
    asked, lane = [1], 2
    if policy is not None:
        lane = int(policy.expedite.get("people", LANE["people"]))
        pairs = [(ring.name, source.name) for ring in policy.rings for source in policy.sources]
        asked += [policy.settings_for(*pair).needs_people for pair in pairs]
    return {**{act: 2 for act in TWO_PEOPLE if act in people.NEEDS}, "approve": max(asked), "expedite": lane}


def _ruled(policy: Policy | None, act: str) -> dict[str, Any]:
    """The rule that asks for so many: the fast lane's, or that of the ring that asks for most; none for what the code
    asks for."""
    if policy is None or act not in ("approve", "expedite"):
        return {}
    if act == "expedite":
        return policy.ruled("expedite.people")
    most = max(range(len(policy.rings)), key=lambda at: policy.rings[at].people)
    return policy.ruled(f"rings[{most}].needs")


def _holders(users: Sequence[User], act: str) -> list[User]:
    return [one for one in users if people.may(one, act)]
