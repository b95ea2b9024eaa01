"""Appends that are interrupted, watched, refused or two at once."""

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import blocks, data_directory
from ecdctr_tf.input.conversion import converter
from tests import conversion_world as world
from tests.processes import locked_by_another_process

DAYS = [f"2024-01-0{day}" for day in range(1, 6)]
# What puts something on disk, and what an end by the system no longer does.
WRITES = (
    (os, "rename"),
    (os, "replace"),
    (blocks, "write"),
    (np, "savez"),
    (shutil, "rmtree"),
    (pathlib.Path, "unlink"),
)


def spec():
    return world.spec(
        negatives={"natural": {"per_click": 1, "window_seconds": 43_200}},
        min_count={"item": 4},
    )


def tables(seed=0):
    """Return five days of logs; users of the last two are new, by the seed."""
    logs = []
    for domain, rows in (
        ("natural", world.table(seed, 60, 5, clicks=False, users=9)),
        ("ads", world.table(seed + 1, 60, 5)),
    ):
        new = (world.day_of(rows) >= 3) * (100 + seed)
        users = pa.array(rows["user_id"].to_numpy() + new)
        logs.append((domain, rows.set_column(0, "user_id", users)))
    return logs


@pytest.fixture
def out(tmp_path):
    """A data directory of the first three days."""
    return world.convert(
        tmp_path, world.of_days(tables(), 0, 3), "out", spec=spec()
    )


@pytest.fixture
def late():
    """The logs of days 4 and 5."""
    return world.of_days(tables(), 3, 5)


class Killed(BaseException):
    """The process is no more."""


def kill_at(monkeypatch, step):
    """Let what writes work `step` - 1 times and then never again."""
    steps = []

    def patch(module, name):
        real = getattr(module, name)

        def write(*args, **kwargs):
            steps.append(name)
            if len(steps) >= step:
                raise Killed(f"step {step}: {name}")
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, write)

    for module, name in WRITES:
        patch(module, name)
    return steps


def killed(monkeypatch, step, out, logs):
    """Append until a step; return whether that was before the end."""
    with monkeypatch.context() as patches:
        kill_at(patches, step)
        try:
            world.append(out, logs, spec())
        except Killed:
            return True
    return False


def check_readable(path, least=3):
    """Check what a reader relies on."""
    data = data_directory.DataDirectory(path)
    for domain in features.DOMAINS:
        days = data.days(domain)
        assert days == DAYS[: len(days)] and len(days) >= least
        for day in days:
            for table, entry in data.manifest(domain, day).ids.items():
                assert data.id_spaces[table].rows >= entry["rows"]
        data.rows(domain, windows.Window(days[0], days[-1]))


def copy_of(out, name):
    return shutil.copytree(out, out.with_name(name))


def test_killed_at_any_step_and_given_again(out, late, tmp_path, monkeypatch):
    before = world.everything(out)
    other = world.of_days(tables(5), 3, 5)
    expected = {}
    for name, logs in (("same", late), ("other", other)):
        path = copy_of(out, f"whole-{name}")
        world.append(path, logs, spec())
        expected[name] = world.everything(path)
    step, done = 0, 0
    while not done:
        step += 1
        victim = copy_of(out, f"{step}")
        done = not killed(monkeypatch, step, victim, late)
        check_readable(victim)
        if store.dated(victim / "state")[-1] == DAYS[-1]:
            # All was in place, but nobody was told: it may be given again.
            kept = copy_of(victim, f"{step}-kept")
            summary = world.append(victim, late, spec()) if not done else None
            assert world.everything(victim) == expected["same"]
            whole = json.loads((victim / "summary.json").read_text())
            assert summary in (whole, None)
            # It is an append of other days all the same, or of other rows.
            with pytest.raises(ValueError, match="holds all days up to"):
                world.append(kept, other, spec())
            with pytest.raises(ValueError, match="holds all days up to"):
                world.append(victim, late, spec())
            shutil.rmtree(kept)
        elif step % 2:
            world.append(victim, late, spec())
            assert world.everything(victim) == expected["same"]
        else:
            with pytest.raises(ValueError, match="There are no rows"):
                world.append(victim, [], spec())
            assert world.everything(victim) == before
            world.append(victim, other, spec())
            assert world.everything(victim) == expected["other"]
        shutil.rmtree(victim)
    assert step > 40


@pytest.fixture
def left_over(out, late, monkeypatch):
    """A directory whose append ended when all but its state was in place."""
    rename = os.rename

    def fail(source, target):
        if pathlib.Path(target).parent == out / "state":
            raise Killed
        rename(source, target)

    before = world.everything(out)
    with monkeypatch.context() as patches:
        patches.setattr(os, "rename", fail)
        with pytest.raises(Killed):
            world.append(out, late, spec())
    after = world.everything(out)
    for name in ("natural/2024-01-05/manifest.json", "ads/2024-01-04/"):
        assert any(n.startswith(name) for n in set(after) - set(before))
    for name in ("ids/user.txt", "summary.json"):
        assert after[name] != before[name]
    return out


def test_killed_again_while_it_takes_back(left_over, late, monkeypatch):
    whole = copy_of(left_over, "whole")
    world.append(whole, late, spec())
    expected = world.everything(whole)
    for step in range(1, 25):
        victim = copy_of(left_over, f"{step}")
        assert killed(monkeypatch, step, victim, world.of_days(tables(5), 3, 5))
        check_readable(victim)
        world.append(victim, late, spec())
        assert world.everything(victim) == expected
        shutil.rmtree(victim)


def test_readers_see_whole_days_at_every_step(left_over, late, monkeypatch):
    """Also while the days of an interrupted append are taken back."""
    seen = []

    def watched(real):
        def write(*args):
            real(*args)
            check_readable(left_over)
            seen.append(
                len(data_directory.DataDirectory(left_over).days("ads"))
            )

        return write

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    world.append(left_over, late, spec())
    # Two days go, then two come.
    assert list(dict.fromkeys(seen)) == [5, 4, 3] and seen[-1] == 5


def test_two_appends_at_once(out, late):
    expected = world.everything(out)
    with locked_by_another_process(out):
        message = (
            f"{out} is in use by another process .pid .*, which is resting"
        )
        with pytest.raises(ValueError, match=message):
            world.append(out, late, spec())
        kept = world.everything(out)
        del kept[".lock"]
        assert kept == expected
    world.append(out, late, spec())
    assert ".lock" not in world.everything(out)


def test_append_beside_a_conversion(tmp_path, late):
    """There is nothing to append to before the conversion has ended."""
    with locked_by_another_process(tmp_path, ".out.lock"):
        with pytest.raises(FileNotFoundError, match="spec.json does not exist"):
            world.append(tmp_path / "out", late, spec())
        with pytest.raises(ValueError, match="another process"):
            world.convert(tmp_path, tables(), "out", spec=spec())
        assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
        # Another place beside it is free.
        world.convert(tmp_path, tables(), "other", spec=spec())
    world.convert(tmp_path, tables(), "out", spec=spec())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out"]


def test_an_append_that_fails_changes_nothing(out, late, monkeypatch):
    expected = world.everything(out)
    natural, ads = late
    bad = ads[1].set_column(5, "click", pa.array([2] * len(ads[1])))
    for logs, message in (
        ([natural, ("ads", bad)], "'click' .*should hold 0 or 1"),
        ([natural, ("web", ads[1])], "one of natural, ads. Received: 'web'"),
        ([natural, ("ads", natural[1])], "'click', or none of them"),
        (tables(), "Table 0 of natural has events of 2024-01-01, but .*out"),
        (world.of_days(tables(), 2, 5), "events of 2024-01-03.*later days"),
        ([(d, t.slice(0, 0)) for d, t in late], "There are no rows"),
    ):
        with pytest.raises(ValueError, match=message):
            world.append(out, logs, spec())
        assert world.everything(out) == expected


def test_clicks_only_goes_on_as_it_began(out, late):
    (_, natural), ads = late
    clicks = pa.array(np.ones(len(natural), int))
    labelled = natural.append_column("click", clicks)
    with pytest.raises(ValueError, match="all tables of natural should"):
        world.append(out, [("natural", labelled), ads], spec())


@pytest.mark.parametrize(
    "changes, parts",
    [
        ({"min_count": {}}, "min_count"),
        ({"negatives": {"natural": {"seed": 1}}}, "negatives"),
    ],
)
def test_another_spec_is_refused(out, late, changes, parts):
    other = dataclasses.replace(spec(), **_only(changes))
    with pytest.raises(ValueError, match=f"parts differ: {parts}"):
        world.append(out, late, other)


def _only(changes):
    """Return the fields of a spec with some changes."""
    changed = world.spec(**changes)
    return {name: getattr(changed, name) for name in changes}


def test_a_spec_that_reads_logs_otherwise_is_taken(out, late):
    whole = world.convert(out.parent, tables(), spec=spec())
    log = {"domain": "ads", "path": "x", "user": "u", "item": "i", "time": "t"}
    changes = _only({"first_day": "2024-01-01", "logs": [log]})
    world.append(out, late, dataclasses.replace(spec(), **changes))
    assert world.everything(out) == world.everything(whole)


def test_another_format_is_refused(out, late):
    with pytest.raises(ValueError, match="'blocks'. Received: 'examples'"):
        world.append(out, late, spec(), file_format="examples")
    with pytest.raises(ValueError, match="should be one of blocks, examples"):
        world.append(out, late, spec(), file_format="csv")


def test_what_is_no_directory_of_a_conversion_is_refused(out, late, tmp_path):
    with pytest.raises(FileNotFoundError, match="spec.json does not exist"):
        world.append(tmp_path / "none", late, spec())
    shutil.rmtree(out / "state")
    with pytest.raises(FileNotFoundError, match="no state.*Convert all logs"):
        world.append(out, late, spec())


def test_a_directory_that_was_changed_is_refused(out, late):
    state = out / "state" / DAYS[2]
    for path, message in (
        (state / "ages.npz", "ages.npz is damaged"),
        (out / "ids/item.txt", "item.txt does not begin with the ids"),
    ):
        kept = path.read_bytes()
        path.write_bytes(kept.swapcase())
        with pytest.raises(ValueError, match=message):
            world.append(out, late, spec())
        path.write_bytes(kept)
    shutil.rmtree(out / "ads" / DAYS[2])
    with pytest.raises(ValueError, match="ads lacks 2024-01-03, its last day"):
        world.append(out, late, spec())


def test_a_day_that_was_deleted_is_named(tmp_path):
    """No append goes on over it; days from it on can be taken back."""
    tables = [
        ("natural", world.table(0, 60, 4)),
        ("ads", world.table(1, 60, 4)),
    ]
    whole = world.convert(tmp_path, world.of_days(tables, 0, 2), "whole")
    out = world.convert(tmp_path, world.of_days(tables, 0, 3), "out")
    shutil.rmtree(out / "natural" / "2024-01-02")
    with pytest.raises(ValueError, match="natural lacks 2024-01-02.*drop_from"):
        world.append(out, world.of_days(tables, 3, 4))
    converter.drop_days(world.spec(), out, "2024-01-02")
    world.append(out, world.of_days(tables, 1, 2))
    assert world.everything(out) == world.everything(whole)
