"""What lies beside a database: the cdiff that leads to it, and the ``.sign`` files of both.

- The files of a version are those of the first look at it, remembered in the source's cursor: what comes later is left
  out, and what is pruned later is still announced. Else a version would be known with other bytes.
- A cdiff that was not there is announced as an empty one: by that a client takes the whole database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256().hexdigest()
KINDS = (".cdiff", ".cvd.sign", ".cdiff.sign")


def names(stems: Iterable[str]) -> list[str]:
    """What may lie beside databases of these names and versions, such as ``daily-27800``."""
    return [stem + kind for stem in stems for kind in KINDS]


def signed_by(side_car: str) -> str:
    """The file of a release that a ``.sign`` file is about: ``daily.cvd`` for ``daily-27800.cvd.sign``."""
    name = side_car.removesuffix(".sign")
    return name.rpartition("-")[0] + ".cvd" if name.endswith(".cvd") else name


def cursor(stems: Sequence[str], found: Sequence[str]) -> str:
    """What the next look is to know."""
    return json.dumps({"of": list(stems), "beside": list(found)})


def remembered(text: str, stems: Sequence[str]) -> list[str] | None:
    """What lay beside them at the first look; None: this is the first."""
    known = json.loads(text) if text else {}
    return list(known["beside"]) if known.get("of") == list(stems) else None
