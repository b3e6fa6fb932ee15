"""The read plane: a stock client always sees one consistent state, and nothing is written twice."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater

from gate.adapters import keys
from gate.adapters.publisher_tuf import LIFE, TufPublisher
from gate.core.errors import OperatorError
from gate.ports import Wanted
from tests.read_plane import FolderFetcher, catalogued, custom, publisher, updater, wanted

NOW = datetime.now(UTC).replace(microsecond=0)  # a stock client asks the system's clock
ONE, TWO = catalogued("1", 1), catalogued("2", 2)


def approved(client: Updater, ring: str) -> str | None:
    found = client.get_targetinfo(f"rings/{ring}/shop/current")
    return None if found is None else str(found.unrecognized_fields["custom"]["release"])


def test_a_stock_client_reads_approval_catalogue_and_bundle(tmp_path: Path) -> None:
    publisher(tmp_path, NOW).reconcile(lambda: wanted(ONE, first={"shop": custom(ONE)}), NOW)
    client = updater(tmp_path, tmp_path / "cache")
    client.refresh()
    approval = client.get_targetinfo("rings/first/shop/current")
    content = client.get_targetinfo(f"content/shop/{ONE.hex}.json")
    bundle = client.get_targetinfo("policy/bundle")
    assert approval is not None
    assert content is not None
    assert bundle is not None
    assert (approval.length, approval.hashes) == (content.length, content.hashes)
    assert Path(client.download_target(content, str(tmp_path / "got"))).read_bytes() == ONE.manifest
    assert client.get_targetinfo("rings/rest/shop/current") is None
    assert client.get_targetinfo("override/first/shop/current") is None
    stamp = Metadata.from_file(str(tmp_path / "cache" / "timestamp.json")).signed
    assert stamp.unrecognized_fields == {
        "audit_size": 7,
        "audit_root": "ab" * 32,
        "issued_at": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def test_a_steady_poll_costs_two_requests_and_half_a_kilobyte(tmp_path: Path) -> None:
    publisher(tmp_path, NOW).reconcile(lambda: wanted(ONE, first={"shop": custom(ONE)}), NOW)
    updater(tmp_path, tmp_path / "cache").refresh()
    fetcher = FolderFetcher(tmp_path / "public")
    updater(tmp_path, tmp_path / "cache", fetcher).refresh()
    assert fetcher.asked == ["metadata/2.root.json", "metadata/timestamp.json"]
    assert (tmp_path / "public" / "metadata" / "timestamp.json").stat().st_size < 560


def test_the_same_wish_twice_writes_nothing(tmp_path: Path) -> None:
    made = publisher(tmp_path, NOW)
    made.reconcile(lambda: wanted(ONE), NOW)
    before = {path: path.read_bytes() for path in (tmp_path / "public").rglob("*.json")}
    assert made.reconcile(lambda: wanted(ONE), NOW + timedelta(minutes=1)) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "public").rglob("*.json")} == before


@pytest.mark.parametrize("role", sorted(LIFE.keys() - {"root"}))
def test_every_role_is_signed_anew_before_half_of_its_life_is_over(tmp_path: Path, role: str) -> None:
    made = publisher(tmp_path, NOW)
    made.reconcile(lambda: wanted(ONE, first={"shop": custom(ONE)}), NOW)
    name = {"catalog": "catalog-shop", "ring": "ring-first"}.get(role, role)

    def version() -> int:
        if role == "timestamp":
            return made.timestamp_version()
        return max(int(path.name.split(".")[0]) for path in made._metadata.glob(f"*.{name}.json"))

    made.reconcile(lambda: wanted(ONE, first={"shop": custom(ONE)}), NOW + LIFE[role] / 2)
    first = version()
    made.reconcile(lambda: wanted(ONE, first={"shop": custom(ONE)}), NOW + LIFE[role] / 2 + timedelta(seconds=1))
    assert (first, version()) == (1, 2)


def test_a_ring_that_left_the_policy_is_emptied_and_never_dropped(tmp_path: Path) -> None:
    made = publisher(tmp_path, NOW)
    made.reconcile(lambda: wanted(ONE, first={"shop": custom(ONE)}, old={"shop": custom(ONE)}), NOW)
    client = updater(tmp_path, tmp_path / "cache")
    client.refresh()
    assert approved(client, "old") is not None
    made.reconcile(lambda: wanted(ONE, first={"shop": custom(ONE)}), NOW)
    client = updater(tmp_path, tmp_path / "cache")
    client.refresh()
    assert approved(client, "old") is None
    assert approved(client, "first") == f"sha256:{ONE.hex}"


class Cut(Exception):
    """The power fails."""


class CutPublisher(TufPublisher):
    """Dies before its n-th rename, or just after it."""

    left = 10**9
    after = False

    def _rename(self, temporary: Path, path: Path) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Cut
        super()._rename(temporary, path)
        if self.left == 0:
            raise Cut


@pytest.mark.parametrize("after", [False, True])
def test_cut_at_every_write_a_client_sees_the_old_state_or_the_new_and_the_next_tick_repairs(
    tmp_path: Path, after: bool
) -> None:
    old = wanted(ONE, first={"shop": custom(ONE)})
    new = wanted(ONE, TWO, first={"shop": custom(TWO)}, rest={"shop": custom(ONE)})
    cuts = 0
    for step in range(1, 30):
        folder = tmp_path / f"{step}"
        publisher(folder, NOW).reconcile(lambda: old, NOW)
        known = updater(folder, folder / "known")
        known.refresh()
        dying = CutPublisher(folder / "public", keys.load_signers(folder / "keys"))
        dying.left, dying.after = step, after
        try:
            dying.reconcile(lambda: new, NOW)
        except Cut:
            cuts += 1
        for cache in ("known", "fresh"):
            client = updater(folder, folder / cache)
            client.refresh()
            seen = approved(client, "first"), approved(client, "rest")
            assert seen in {
                (f"sha256:{ONE.hex}", None),
                (f"sha256:{TWO.hex}", f"sha256:{ONE.hex}"),
            }
            assert client.get_targetinfo(f"content/shop/{str(seen[0]).removeprefix('sha256:')}.json") is not None
        TufPublisher(folder / "public", keys.load_signers(folder / "keys")).reconcile(lambda: new, NOW)
        client = updater(folder, folder / "known")
        client.refresh()
        assert approved(client, "first") == f"sha256:{TWO.hex}"
        if cuts < step:
            break
    assert cuts >= 5, "roles, snapshot, timestamp and a manifest are written one after another"


def test_two_timestamps_never_share_a_second_of_modification(tmp_path: Path) -> None:
    made = publisher(tmp_path, NOW)
    seconds = set()
    for version in range(1, 6):
        made.reconcile(lambda version=version: wanted(catalogued(str(version), version)), NOW)
        seconds.add(int((tmp_path / "public" / "metadata" / "timestamp.json").stat().st_mtime))
    assert len(seconds) == 5


def test_old_versions_are_pruned_and_the_last_ones_stay_for_who_is_in_the_middle_of_a_refresh(tmp_path: Path) -> None:
    made = publisher(tmp_path, NOW)
    for version in range(1, 40):
        made.reconcile(lambda version=version: wanted(catalogued(str(version), version)), NOW)
    names = os.listdir(tmp_path / "public" / "metadata")
    assert len([name for name in names if name.endswith(".catalog-shop.json")]) == 20
    assert "1.root.json" in names


def test_two_publishers_on_one_directory_follow_each_other(tmp_path: Path) -> None:
    first = publisher(tmp_path, NOW)
    second = TufPublisher(tmp_path / "public", keys.load_signers(tmp_path / "keys"))
    assert first.reconcile(lambda: wanted(ONE), NOW) == 1
    assert second.reconcile(lambda: wanted(ONE, TWO), NOW) == 2
    assert first.reconcile(lambda: wanted(ONE, TWO), NOW) == 2
    assert first.reconcile(lambda: wanted(TWO), NOW) == 3
    assert second.timestamp_version() == 3


def test_nobody_publishes_what_another_has_overtaken(tmp_path: Path) -> None:
    first = publisher(tmp_path, NOW)
    second = TufPublisher(tmp_path / "public", keys.load_signers(tmp_path / "keys"))
    decided = [wanted(ONE)]
    later = threading.Thread(target=second.reconcile, args=(lambda: decided[-1], NOW))

    def slowly() -> Wanted:
        found = decided[-1]
        decided.append(wanted(ONE, TWO))
        later.start()
        later.join(0.3)
        assert later.is_alive(), "what is wanted is read under the lock"
        return found

    assert first.reconcile(slowly, NOW) == 1
    later.join(20)
    assert second.timestamp_version() == 2
    assert first.reconcile(lambda: decided[-1], NOW) == 2, "the later decision stands"


def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    made = publisher(tmp_path, NOW)
    (tmp_path / "public" / "metadata").rename(tmp_path / "public" / "gone")
    (tmp_path / "public" / "metadata").write_text("a file")
    with pytest.raises(OperatorError, match="cannot be written"):
        made.reconcile(lambda: wanted(ONE), NOW)


def test_an_artifact_that_changes_while_it_is_stored_is_refused(tmp_path: Path) -> None:
    made = publisher(tmp_path, NOW)
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(OperatorError):
        made.put_blob(tmp_path / "file", "0" * 64)
    assert list((tmp_path / "public" / "content" / "blobs").iterdir()) == []
