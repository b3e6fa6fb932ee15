"""People say when a site is on duty or closed beside its hours; each act is one event.

- An import says all duty of its sites between the first beginning and the last end that it has for them: what the store
  has there is replaced, what lies outside stays.
- Closing days are whole local days, and are taken back by the day on which they begin.
- What ended more than three months ago goes with the next change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from gate.core.errors import Conflict, Malformed, NotFound, Overtaken
from gate.core.model import Site, SiteTime, TimeKind
from gate.ports import Tx

KEPT = timedelta(days=92)
MOST = 400
LONGEST_DAYS = 366


def take_duty(tx: Tx, found: Mapping[str, Sequence[SiteTime]], by: str, now: datetime) -> int:
    """Imports the duty of each site; returns how many of these stretches the store did not have.

    Raises:
        NotFound: no such site. Conflict: it is always on, or would have too many times.
    """
    new = 0
    for site_id, duty in found.items():
        site = _site(tx, site_id)
        start, end = min(one.start_at for one in duty), max(one.end_at for one in duty)
        replaced = {
            one for one in site.times if one.kind is TimeKind.DUTY and one.start_at < end and one.end_at > start
        }
        spans = {(one.start_at, one.end_at) for one in site.times if one.kind is TimeKind.DUTY}
        new += sum((one.start_at, one.end_at) not in spans for one in duty)
        _save(tx, site, [*(one for one in site.times if one not in replaced), *duty], now)
        detail = {"from": start.isoformat(), "to": end.isoformat(), "duties": len(duty), "replaced": len(replaced)}
        tx.append("duty_imported", by, site_id, now, detail)
    return new


def close(
    tx: Tx, site_id: str, first: date, last: date, zone: ZoneInfo, because: str, by: str, now: datetime
) -> SiteTime:
    """Declares closing days, both included.

    Raises:
        NotFound: no such site. Malformed: the days are out of order, too many, or over.
        Conflict: the site is always on, or closing days begin on that day already.
    """
    site = _site(tx, site_id)
    if last < first or (last - first).days >= LONGEST_DAYS:
        raise Malformed("bad_field", f"closing days run from a day to a later one, at most {LONGEST_DAYS}")
    start, end = _midnight(first, zone), _midnight(last + timedelta(days=1), zone)
    if end <= now:
        raise Malformed("bad_field", f"{last} is over")
    if any(one.kind is TimeKind.CLOSED and one.start_at == start for one in site.times):
        raise Conflict("closed_already", f"closing days of {site_id} begin on {first} already")
    added = SiteTime(start, end, TimeKind.CLOSED, because, by)
    _save(tx, site, [*site.times, added], now)
    tx.append("site_closed", by, site_id, now, {"from": str(first), "to": str(last)}, because)
    return added


def reopen(tx: Tx, site_id: str, first: date, zone: ZoneInfo, because: str, by: str, now: datetime) -> SiteTime:
    """Takes back the closing days that begin on a day.

    Raises:
        NotFound: no such site, or none begin then.
    """
    site = _site(tx, site_id)
    start = _midnight(first, zone)
    gone = [one for one in site.times if one.kind is TimeKind.CLOSED and one.start_at == start]
    if not gone:
        raise NotFound(f"no closing days of {site_id} begin on {first}")
    _save(tx, site, [one for one in site.times if one not in gone], now)
    tx.append("site_reopened", by, site_id, now, {"from": str(first)}, because)
    return gone[0]


def _site(tx: Tx, site_id: str) -> Site:
    site = tx.site(site_id)
    if site is None:
        raise NotFound(f"there is no site {site_id}")
    if site.always_on:
        raise Conflict("always_on", f"site {site_id} is always on: it has neither duty nor closing days")
    return site


def _save(tx: Tx, site: Site, times: Sequence[SiteTime], now: datetime) -> None:
    kept = sorted({one for one in times if one.end_at > now - KEPT})
    if len(kept) > MOST:
        raise Conflict(
            "too_many_times", f"site {site.id} would have {len(kept)} duties and closing days; {MOST} at most"
        )
    if not tx.save_times(site.id, kept, site.times):
        raise Overtaken


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
