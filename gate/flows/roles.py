"""Who may do what: roles, each of which may do what those before it may, and the least role of each act."""

from __future__ import annotations

from gate.ports import User

ROLES = ("reader", "technician", "approver", "admin")
NEEDS = {
    "view": "reader",
    "halt": "technician",
    "approve": "approver",
    "resume": "approver",
    "recall": "approver",
    "waive": "approver",
    "expedite": "approver",
    "explain": "approver",
    "enrol": "admin",
    "accept": "admin",
    "sites": "admin",
    "policy": "admin",
    "sign": "approver",
    "hold": "technician",
    "keys": "technician",
    "try": "technician",
    "lever": "admin",
    "lift": "approver",
    "people": "admin",
}


def may(user: User, act: str) -> bool:
    """Does the role allow this act?"""
    return not user.disabled and ROLES.index(user.role) >= ROLES.index(NEEDS[act])
