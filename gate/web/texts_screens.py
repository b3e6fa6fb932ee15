"""The German of the long lists, the site and machine pages, the calendar and the system page; English is the key."""

from __future__ import annotations

GERMAN = {
    "Begins with": "Beginnt mit",
    "Version begins with": "Version beginnt mit",
    "only dark sites": "nur dunkle Apotheken",
    "Order": "Ordnung",
    "As of": "Stand",
    "All of it as CSV": "Alles als CSV",
    "Kept filters": "Gemerkte Filter",
    "Forget": "Vergessen",
    "Keep": "Merken",
    "Keep what is asked now as": "Was jetzt gefragt ist, merken als",
    "sort.name": "Name",
    "sort.-name": "Name, von hinten",
    "sort.site": "Apotheke",
    "sort.last_seen": "am längsten nicht gehört",
    "sort.-last_seen": "zuletzt gehört",
    "sort.newest": "neueste zuerst",
    "sort.oldest": "älteste zuerst",
    "sort.source": "Quelle",
    "in_flight": "unterwegs",
    "failure": "ausgefallen",
    "Claim": "Zusage",
    "Status": "Status",
}
ENGLISH = {
    "sort.name": "name",
    "sort.-name": "name, from the end",
    "sort.site": "site",
    "sort.last_seen": "not heard of for longest",
    "sort.-last_seen": "heard of last",
    "sort.newest": "newest first",
    "sort.oldest": "oldest first",
    "sort.source": "source",
    "in_flight": "in flight",
    "failure": "failed",
}
"""Words whose key is no English."""
