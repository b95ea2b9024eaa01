"""Months replayed, killed on the way, and what they must not have seen.

A process replays a world of a few rows a day. It is killed at random moments
and started again, as a scheduler would, and ends with the same bits as one that
nobody disturbed.

`make long` runs it. `REPLAY_KILLS=50` replays six months (TPMs of 30 days, CPMs
of 7, A-CTRs of one) and kills the process that often.
"""

import gc
import multiprocessing
import os
import random
import time
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import command_line, stages, store
from ecdctr_tf.operation import record
from ecdctr_tf.windows import Window
from tests import clock_world
from tests.clock_world import day
from tests.test_resume import artefacts as arrays_of

pytestmark = pytest.mark.long
KILLS = int(os.environ.get("REPLAY_KILLS", "2"))
LONG = KILLS > 10
# Dates of the replay, and days of the logs.
LAST = 182 if LONG else 13
PACES = (
    ("schedule.tpm_days=30", "schedule.cpm_days=7", "schedule.cpm_every=7")
    if LONG
    else ("schedule.cpm_every=2",)
)
# Wide enough for a replay on a loaded machine.
SECONDS = 10_000 if LONG else 600
CUT = 12
# Its server has TensorFlow loaded, so that a replay starts at once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.test_replay"])


def request(data, workdir, **changes):
    world = clock_world.World.__new__(clock_world.World)
    world.path = data
    settings = (*PACES, *changes.pop("settings", ()))
    return world.request(
        workdir,
        settings=settings,
        deterministic=True,
        **changes,
    )


def quietly(of) -> None:
    """Run a stage as a command does, quickly; the target of a process."""
    tf.config.run_functions_eagerly(True)
    gc.freeze()
    with (
        open(os.devnull, "w") as nothing,
        mock.patch.object(gc, "collect", lambda: 0),
        mock.patch.object(os, "fsync", lambda file: None),
        mock.patch.dict(os.environ, ECDCTR_TF_COMPILED="off"),
        mock.patch("sys.stdout", nothing),
        command_line.reported(),
    ):
        stages.run(of)


def run(of, seconds=None) -> int | None:
    """Run a stage in a process, which may be killed; return its status."""
    process = PROCESSES.Process(target=quietly, args=(of,))
    process.start()
    process.join(seconds or SECONDS)
    ended = process.exitcode
    process.kill()
    process.join()
    assert seconds or ended is not None
    return ended


def replay(data, workdir, **changes):
    window = Window(day(1), day(LAST))
    return request(data, workdir, stage="replay", window=window, **changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp("months") / "data"
    return clock_world.World(place).fill(LAST + 2).path


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """A replay that nobody disturbed, and the seconds that it took."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    began = time.monotonic()
    assert run(replay(data, workdir)) == 0
    return workdir, time.monotonic() - began


def records(workdir):
    """Return what happened on each date, in however many commands."""
    found = {}
    for date in record.dates(workdir):
        of = record.read(workdir, date)
        done = {(s.place, s.days) for s in of.steps if s.result == record.DONE}
        found[date] = (
            done,
            of.status,
            of.learned,
            of.ages,
            of.alarms,
            of.skipped,
        )
    return found


def check_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_each_level_keeps_its_pace(undisturbed):
    workdir, _ = undisturbed
    published = {
        kind: [
            str(store.read_manifest(workdir / place / of, kind).window)
            for of in store.dated(workdir / place)
        ]
        for kind, place in (("snapshot", "tpm"), ("cpm", "e_cdctr/cpm"))
    }
    scored = store.dated(workdir / "e_cdctr/ctr")
    assert scored == Window(day(9), day(LAST - 1)).days
    assert store.dated(workdir / "historical") == store.dated(workdir / "tpm")
    if not LONG:
        assert published == {
            "snapshot": [f"{day(0)}..{day(8)}"],
            "cpm": [
                f"{day(4)}..{day(8)}",
                f"{day(9)}..{day(10)}",
                f"{day(11)}..{day(12)}",
            ],
        }
    newest = record.read(workdir, day(LAST))
    assert newest.ages["ctr"] == newest.ages["version"] == 0
    assert newest.learned["cpm"] == store.dated(workdir / "e_cdctr/cpm")[-1]


def test_the_report_tells_of_versions_ages_and_alarms(undisturbed):
    workdir, _ = undisturbed
    text = (workdir / "report" / "results.md").read_text()
    assert f"{LAST} dates from {day(1)} to {day(LAST)}" in text
    assert "## Alarms" in text and "| TPM |" in text
    assert "Days behind" in (workdir / "report" / "index.html").read_text()
    # Only the last date is exported.
    versions = [p.name for p in (workdir / "export").glob("2*")]
    assert versions == [day(LAST - 1).replace("-", "")]


def test_killed_and_started_again_it_ends_with_the_same_bits(
    data, undisturbed, tmp_path
):
    expected, seconds = undisturbed
    chance = random.Random(KILLS)
    kills = 0
    while kills < KILLS:
        # Together they live no longer than the one that nobody disturbed, so
        # that there is something left to kill.
        life = chance.uniform(0.5, 1.5) * seconds / (KILLS + 1)
        if run(replay(data, tmp_path / "run"), life) is None:
            kills += 1
        else:
            break  # It was done; what is left is to check.
    assert run(replay(data, tmp_path / "run")) == 0
    assert kills >= KILLS // 2
    print(f"\n{kills} kills in {LAST} dates, {seconds:.0f} s without any")
    check_same(arrays_of(tmp_path / "run"), arrays_of(expected))
    assert records(tmp_path / "run") == records(expected)
    leftovers = list((tmp_path / "run").rglob(".staging-*"))
    assert not leftovers


def test_nothing_of_the_date_or_later_is_seen(undisturbed, tmp_path):
    """One command that catches up equals daily ones, whatever comes after."""
    expected, _ = undisturbed
    place = tmp_path / "data"
    clock_world.World(place, cut=day(CUT)).fill(CUT + 2)
    of = request(place, tmp_path / "run", date=day(CUT))
    assert run(of) == 0

    def day_of(name):
        return name.split(":")[0].split("/")[-2]

    def before(workdir):
        arrays = arrays_of(workdir)
        return {n: v for n, v in arrays.items() if day_of(n) < day(CUT)}

    found = before(tmp_path / "run")
    assert max(map(day_of, found)) == day(CUT - 1)
    check_same(found, before(expected))
