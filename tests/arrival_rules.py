"""What is true of a work directory whatever came in whatever order.

Everything is computed from the rows of the world and from what artefacts say of
themselves, by other means than the product's.
"""

import json
import os

import numpy as np

from ecdctr_tf.transfer import evidence
from tests import arrival_world as world_lib

COLUMN = {"user": "user_id", "item": "item_id"}
DOMAIN = {"tpm": "natural", "cpm": "natural", "ctr": "ads"}
BATCH = world_lib.CONFIG.ctr.batch_size


def level_of(place: str) -> str:
    """Return the level of an artefact: tpm, historical, cpm or ctr."""
    return place.split("/")[-2]


def published(world, tree, level: str) -> list:
    """Return the artefacts of a level in order of days."""
    places = (p for p in sorted(tree.names()) if level_of(p) == level)
    return [world.read(tree, place) for place in places]


def parents(artefact) -> dict[str, str]:
    """Return place -> hash of the manifest of the parents of an artefact."""
    return {
        os.path.normpath(f"{artefact.place}/{entry['path']}"): entry["manifest"]
        for entry in artefact.manifest["parents"].values()
    }


def parent_day(artefact, level: str) -> int:
    """Return the day of the newest parent of a level, 0 without one."""
    places = (p for p in parents(artefact) if level_of(p) == level)
    return max((world_lib.number(place) for place in places), default=0)


def days_of(artefact) -> range:
    """Return the days of an artefact's window."""
    return range(artefact.first, artefact.last + 1)


def check_state(world, tree, withheld, cut: int = 0) -> None:
    """Check that all there is is whole, finite and explained by its parents.

    Args:
      world: the world.
      tree: the work directory.
      withheld: what was published and is not there at the moment.
      cut: from this day on the logs are others.
    """
    everything = tree.joined(withheld).artefacts()
    key = "state", everything.key, cut
    if key in world.checked:
        return
    for place in sorted(everything.names()):
        artefact = world.read(everything, place)
        _check_whole(world, everything, artefact)
        _check_finite(artefact)
        _check_parents(everything, artefact)
        if level_of(place) == "historical":
            _check_means(world, everything, artefact)
        else:
            _check_counts(world, everything, artefact, cut)
        if level_of(place) == "ctr":
            _check_scored_rows(artefact, cut)
    world.checked.add(key)


def _check_whole(world, tree, artefact) -> None:
    files = tree.of(artefact.place)
    assert "manifest.json" in files, artefact.place
    listed = artefact.manifest["files"]
    assert set(listed) == set(files) - {"manifest.json"}, artefact.place
    for name, entry in listed.items():
        assert entry["sha256"] == files[name], f"{artefact.place}/{name}"
    for name in files:
        if name.endswith(".json"):
            text = world.content(tree, f"{artefact.place}/{name}")
            json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def _check_finite(artefact) -> None:
    for arrays in (*artefact.arrays.values(), artefact.scores):
        for name, array in arrays.items():
            if array.dtype.kind == "f":
                assert np.isfinite(array).all(), f"{artefact.place} {name}"


def _check_parents(tree, artefact) -> None:
    level = level_of(artefact.place)
    for place, manifest in parents(artefact).items():
        assert tree.of(place).get("manifest.json") == manifest, (
            f"{place} is not the parent that {artefact.place} had"
        )
        last = world_lib.number(place)
        if level == "ctr":
            # What scored the day has seen nothing of it.
            assert last < artefact.first, (place, artefact.place)
        elif level_of(place) == level:
            # No row is learned twice.
            assert last < artefact.first, (place, artefact.place)
        else:
            assert last <= artefact.last, (place, artefact.place)


def _check_means(world, tree, artefact) -> None:
    """Compare every vector with the mean over the snapshots it is made of."""
    arrays = artefact.arrays["historical"]
    snapshots = [world.read(tree, place) for place in sorted(parents(artefact))]
    for table in world_lib.BUCKETS:
        ids = [s.arrays["snapshot"][f"{table}/ids"] for s in snapshots]
        vectors = [s.arrays["snapshot"][f"{table}/vectors"] for s in snapshots]
        found = arrays[f"{table}/ids"]
        assert set(found) == set(np.concatenate(ids)), artefact.place
        for raw, vector in zip(found, arrays[f"{table}/vectors"], strict=True):
            seen = [v[i == raw] for i, v in zip(ids, vectors, strict=True)]
            mean = np.concatenate(seen).mean(axis=0)
            np.testing.assert_allclose(vector, mean, atol=1e-6)


def _check_counts(world, tree, artefact, cut: int) -> None:
    """Check rows learned, steps taken and ids known."""
    level = level_of(artefact.place)
    count = sum(
        len(world_lib.rows(DOMAIN[level], n, cut)["click"])
        for n in days_of(artefact)
    )
    before = [
        world.read(tree, place)
        for place in parents(artefact)
        if level_of(place) == level
    ]
    if level == "ctr":
        before = earlier(published(world, tree, "ctr"), artefact)[-1:]
    learned = sum(b.manifest["rows"] for b in before)
    assert artefact.manifest["rows"] == learned + count, artefact.place
    text = world.content(tree, f"{artefact.place}/curve.json")
    end = json.loads(text)[-1]
    assert end["rows"] == count, artefact.place
    assert end["step"] == -(-count // BATCH), artefact.place
    for table in artefact.manifest["ids"]:
        now = world_lib.known(table, artefact.last, cut)
        assert artefact.known(table) == now, (artefact.place, table)
        if "weights" in artefact.arrays:
            assert len(artefact.table(table)) >= now, (artefact.place, table)


def _check_scored_rows(artefact, cut: int) -> None:
    scores = artefact.scores
    for name, column in (
        ("click", "click"),
        ("user", "user_id"),
        ("item", "item_id"),
    ):
        expected = [
            world_lib.rows("ads", n, cut)[column] for n in days_of(artefact)
        ]
        assert np.array_equal(scores[name], np.concatenate(expected)), name
    assert np.all((scores["ctr"] >= 0) & (scores["ctr"] <= 1))


def earlier(days: list, artefact) -> list:
    """Return the artefacts of a level that were published for earlier days."""
    return [each for each in days if each.last < artefact.first]


def check_step(world, before, withheld, after, command) -> None:
    """Check what a command did to a work directory.

    Args:
      world: the world.
      before: the work directory as the command found it.
      withheld: what was published and was not there.
      after: what it left.
      command: the command.
    """
    key = "step", before.key, withheld.key, after.key, command
    if key in world.checked:
        return
    for file, content in before.artefacts().files.items():
        assert after.files.get(file) == content, f"{file} was changed"
    lag = world_lib.LAG if command.pace == "late" else 0
    new = after.artefacts().names() - before.names()
    everything = after.joined(withheld).artefacts()
    for place in sorted(new):
        artefact = world.read(after, place)
        level = level_of(place)
        if level == "ctr":
            for day in published(world, before, "ctr"):
                assert day.last < artefact.first, f"{place} came too late"
            days = published(world, everything, "ctr")
            last = (earlier(days, artefact) or [None])[-1]
            _check_choice(world, before, artefact, last, lag)
            _check_known_when_scored(artefact, last, command.cut)
            _check_ctr_rows(world, everything, artefact, last, command.cut)
        elif level == "historical":
            days = [tpm.last for tpm in published(world, before, "tpm")]
            seen = [n for n in days if n <= artefact.last]
            made_of = sorted(world_lib.number(p) for p in parents(artefact))
            assert made_of == seen[-world_lib.CONFIG.history.snapshots :]
        else:
            _check_natural_rows(world, everything, artefact, command.cut)
    world.checked.add(key)


def _check_choice(world, before, artefact, last, lag: int) -> None:
    """Check that a day came from the newest CPM and history it may see."""
    found = parent_day(artefact, "cpm")
    may = [
        cpm.last
        for cpm in published(world, before, "cpm")
        if cpm.last < artefact.first - lag
    ]
    assert found == max([*may, last and parent_day(last, "cpm") or 0])
    history = [
        table.last
        for table in published(world, before, "historical")
        if table.last < artefact.first
    ]
    assert parent_day(artefact, "historical") == max(history, default=0)


def _check_known_when_scored(artefact, last, cut: int) -> None:
    """Check by rows that differ in the user only whom the model knew.

    Known users have scores of their own, users of the day itself one score.
    """
    first = artefact.first
    sure = last.known("user") if last else world_lib.known("user", first - 1)
    for i, n in enumerate(days_of(artefact)):
        probes = slice(
            i * world_lib.ADS_ROWS, i * world_lib.ADS_ROWS + world_lib.PROBES
        )
        users = artefact.scores["user"][probes]
        scores = artefact.scores["ctr"][probes]
        known = scores[users < sure]
        assert len(np.unique(known)) == len(known), (artefact.place, users)
        # Rows of the logs' own day: those after the cut are as many.
        new = scores[users >= world_lib.known("user", n - 1)]
        assert len(np.unique(new)) == 1, (artefact.place, users)
    del cut


def _check_ctr_rows(world, tree, artefact, last, cut: int) -> None:
    """Check the rows of the tables that the day's ads do not touch.

    Unknown to both CPMs: kept. Known to both: what the CPM learned is added.
    New to the newer CPM: what it learned since the row's initial value. Of rows
    that the A-CTR knows, it is the part that the evidence spoke for.
    """
    taken = artefact.manifest["config"].get("evidence", {"taken": 0})["taken"]
    part = evidence.CANDIDATES[taken].tables
    new = _parent(world, tree, artefact, "cpm")
    old = last and _parent(world, tree, last, "cpm")
    for table in world_lib.BUCKETS:
        rows = _untouched(table, artefact, "ads", cut)
        newer = _values(world, new, table, rows)
        if last is None:
            expected = newer
        else:
            expected = _values(world, last, table, rows)
            change = newer - _values(world, old, table, rows)
            parts = np.where(rows < last.known(table), part, 1.0)
            parts *= rows < new.known(table)
            expected += parts[:, None] * change
        _compare(artefact, table, rows, expected)


def _check_natural_rows(world, tree, artefact, cut: int) -> None:
    """Check that a level that goes on keeps the rows it does not train."""
    last = _parent(world, tree, artefact, level_of(artefact.place))
    if last is None:
        return
    for table in world_lib.BUCKETS:
        rows = _untouched(table, artefact, "natural", cut)
        _compare(artefact, table, rows, _values(world, last, table, rows))


def _parent(world, tree, artefact, level: str):
    number = parent_day(artefact, level)
    places = (p for p in parents(artefact) if level_of(p) == level)
    return world.read(tree, max(places)) if number else None


def _untouched(table: str, artefact, domain: str, cut: int) -> np.ndarray:
    """Return the rows of known ids that a window does not train."""
    used = [
        world_lib.rows(domain, n, cut)[COLUMN[table]] for n in days_of(artefact)
    ]
    rows = np.arange(world_lib.BUCKETS[table], artefact.known(table))
    return np.setdiff1d(rows, np.concatenate(used))


def _values(world, artefact, table: str, rows: np.ndarray) -> np.ndarray:
    """Return rows of a level; of ids it does not know the initial values."""
    values = world.initial[table][rows].copy()
    known = rows < artefact.known(table)
    values[known] = artefact.table(table)[rows[known]]
    return values


def _compare(artefact, table: str, rows, expected) -> None:
    np.testing.assert_allclose(
        artefact.table(table)[rows],
        expected,
        atol=1e-6,
        err_msg=f"rows {rows} of table {table} in {artefact.place}",
    )
