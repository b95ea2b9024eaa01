"""The clock: what is due on a date, what waits, and what is too old.

Training is a stand-in here, which publishes what it was asked to learn, except
in a test of `make long`; see also `test_replay` for levels that are trained.
"""

import contextlib
import dataclasses
import datetime
import io
import json
import logging
import os
import random
import shutil
import types

import pytest

from ecdctr_tf import (
    artefacts,
    command_line,
    export,
    stages,
    store,
    termination,
    windows,
)
from ecdctr_tf.export import saved_model, versions
from ecdctr_tf.input import as_of, former_specs
from ecdctr_tf.input.data_directory import DataDirectory
from ecdctr_tf.monitoring import prometheus
from ecdctr_tf.operation import auto, record
from ecdctr_tf.request import Request
from ecdctr_tf.windows import Window
from tests import clock_world, processes, training_world
from tests.clock_world import FIRST_ADS, day

# Histories of lateness for each rule; `CLOCK_SEEDS=20` tries more.
SEEDS = int(os.environ.get("CLOCK_SEEDS", "1"))
# What the stand-ins stand in for.
TRAIN, TRAINER = auto.natural.train, auto.mixing.trainer
AGGREGATE = auto.history.aggregate
# The first date with a scored day: that of 2024-01-10.
LAUNCH = FIRST_ADS + 1


def asked(level, window):
    """Return where a level learns which days, and how many rows these have."""
    place = level.directory.relative_to(level.run.path).as_posix()
    rows = {
        domain: level.data.rows(domain, window)
        for domain in ("natural", "ads")
        if set(window.days) <= set(level.data.days(domain))
    }
    return place, str(window), rows


@pytest.fixture(autouse=True)
def trained(monkeypatch):
    """Publish instead of training; returns what was asked for, in order.

    Level directories whose name is in `failing` raise instead.
    """
    calls, failing = [], set()

    def train(level, window):
        place = level.directory.relative_to(level.run.path).as_posix()
        if place in failing:
            raise ValueError("The disk is slow.")
        calls.append(asked(level, window))
        manifest = store.Manifest(level.kind, window)
        with store.publish(level.directory / window.last, manifest):
            pass

    def trainer(level):
        def run(parts):
            for part in parts:
                train(level, part)

        return types.SimpleNamespace(run=run)

    def aggregate(run, config, last=""):
        with store.publish(
            run.historical / last,
            store.Manifest("historical", Window(last, last)),
        ):
            calls.append(("historical", last, {}))

    def publish(request, artefact):
        if "export" in failing:
            raise export.RefusedError("The day was ranked by chance.")
        name = artefact.name.replace("-", "")
        window = Window(artefact.name, artefact.name)
        manifest = store.Manifest(saved_model.KIND, window)
        with store.publish(request.export_place / name, manifest):
            calls.append(("export", artefact.name, {}))
        return f"exported {artefact}"

    monkeypatch.setattr(auto.natural, "train", train)
    monkeypatch.setattr(auto.mixing, "trainer", trainer)
    monkeypatch.setattr(auto.history, "aggregate", aggregate)
    monkeypatch.setattr(Request, "export", publish)
    return types.SimpleNamespace(calls=calls, failing=failing)


@pytest.fixture
def world(tmp_path):
    return clock_world.World(tmp_path / "data")


def run(world, tmp_path, number, **changes):
    """Run the clock on a date; return its record and its exit status."""
    date = day(number)
    request = world.request(tmp_path / "run", date=date, **changes)
    status = 0
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            stages.run(request)
        except auto.UnfinishedError as error:
            status = error.exit_status
    return record.read(tmp_path / "run", date), status


def whats(found):
    return [alarm.what for alarm in found.alarms]


# Driven as an operator would.


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("rule", ["wait", "skip"])
def test_sixty_days_of_inputs_that_are_late_at_random(
    world, tmp_path, trained, caplog, seed, rule
):
    check_sixty_days(world, tmp_path, trained.calls, caplog, seed, rule)


@pytest.mark.long
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("rule", ["wait", "skip"])
def test_sixty_days_of_levels_that_are_trained(
    world, tmp_path, monkeypatch, caplog, rule
):
    calls = []

    def train(level, window):
        calls.append(asked(level, window))
        TRAIN(level, window)

    def trainer(level):
        def run(parts):
            calls.extend(asked(level, part) for part in parts)
            TRAINER(level).run(parts)

        return types.SimpleNamespace(run=run)

    # Exports alone are stand-ins.
    monkeypatch.setattr(auto.natural, "train", train)
    monkeypatch.setattr(auto.mixing, "trainer", trainer)
    monkeypatch.setattr(auto.history, "aggregate", AGGREGATE)
    check_sixty_days(world, tmp_path, calls, caplog, 0, rule)


def check_sixty_days(world, tmp_path, calls, caplog, seed, rule):
    """Never a wrong level, never a silent skip, a page of log a day at most."""
    chance = random.Random(seed)
    late = {"natural": 0, "ads": 0}
    come = {"natural": 0, "ads": FIRST_ADS}
    short: dict[str, set] = {"natural": set(), "ads": set()}
    settings = [f"clock.{domain}={rule}" for domain in come]
    said = []
    for number in range(1, 61):
        for domain, next_day in come.items():
            # A domain that is late stays so for some days.
            late[domain] = max(late[domain] - 1, 0) or (
                chance.randrange(1, 7) if chance.random() < 0.15 else 0
            )
            while not late[domain] and come[domain] < number:
                next_day = come[domain]
                # Now and then a day is cut short.
                rows = None
                since = next_day - (FIRST_ADS if domain == "ads" else 0)
                if rule == "skip" and since > 9 and chance.random() < 0.1:
                    rows = 1
                    short[domain].add(day(next_day))
                world.add(domain, day(next_day), rows)
                come[domain] += 1
        before = len(calls)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found, status = run(world, tmp_path, number, settings=settings)
        lines = [r.getMessage() for r in caplog.records]
        assert len(lines) + len(found.steps) <= 60
        # What else is said comes from the levels that are trained.
        of_clock = [r for r in caplog.records if r.module == "auto"]
        assert len(found.alarms) == len(of_clock)
        said += lines
        assert status == {"done": 0, "waiting": 75}[found.status]
        check_learned(calls[before:], number, short, found)
        # Whatever is whole and due was learned.
        if come["ads"] == number > FIRST_ADS and rule == "wait":
            ready = come["natural"] >= FIRST_ADS
            assert (found.ages["ctr"] == 0) == ready
        # A second time, nothing is done.
        if number % 3 == 0:
            before = training_world.tree(tmp_path / "run")
            run(world, tmp_path, number, settings=settings)
            assert training_world.tree(tmp_path / "run") == before
    check_windows(tmp_path / "run", rule, short, "\n".join(said))


def check_learned(calls, number, short, found):
    """Check that only whole days of before the date were learned."""
    for place, window, rows in calls:
        first, _, last = window.partition("..")
        days = Window(first, last or first).days
        assert days[-1] < day(number)
        if place == "tpm" or place.endswith("/cpm"):
            whole = [d for d in days if d not in short["natural"]]
            assert rows["natural"] == 16 * len(whole)
        elif place.endswith("/ctr"):
            assert not set(days) & short["ads"]
            assert rows["ads"] == 12 * len(days)
    assert all(age is None or age >= 0 for age in found.ages.values())


def check_windows(workdir, rule, short, said):
    """Check that each level learned its windows, in order, without a gap."""
    for place, kind, length in (
        ("tpm", artefacts.TPM, 10),
        ("e_cdctr/cpm", artefacts.CPM, 5),
    ):
        learned = [
            store.read_manifest(workdir / place / name, kind).window
            for name in store.dated(workdir / place)
        ]
        assert len(learned) >= 2
        # The windows from the launch on have their length.
        assert all(len(w.days) == length for w in learned[1:])
        for one, next_one in zip(learned, learned[1:], strict=False):
            assert store_next(one) == next_one.first
    scored = store.dated(workdir / "e_cdctr/ctr")
    missing = set(Window(scored[0], scored[-1]).days) - set(scored)
    assert missing == {d for d in short["ads"] if d < scored[-1]}
    for of in missing:
        assert f"ads of {of} has 1 rows" in said
    assert rule == "skip" or not missing


def store_next(window):
    return windows.plus(window.last, 1)


# Each rule on its own.


@pytest.fixture
def launched(world, tmp_path):
    """Logs up to the day before the date that follows the first scored day."""
    world.fill(LAUNCH - 1)
    found, status = run(world, tmp_path, LAUNCH)
    assert status == 0 and found.learned["ctr"] == day(FIRST_ADS)
    return world


def test_a_late_day_of_ads_waits_with_a_status_of_its_own(launched, tmp_path):
    found, status = run(launched, tmp_path, LAUNCH + 1)
    assert (found.status, status) == ("waiting", 75)
    [alarm] = found.alarms
    assert f"the ads rows of {day(LAUNCH)} are not there" in alarm.text
    launched.add("ads", day(LAUNCH))
    found, status = run(launched, tmp_path, LAUNCH + 1)
    assert (found.status, status) == ("done", 0)
    assert found.learned["ctr"] == found.learned["version"] == day(LAUNCH)


def test_late_natural_logs_do_not_hold_up_the_ads(launched, tmp_path):
    for number in range(LAUNCH, LAUNCH + 8):
        launched.add("ads", day(number))
        found, status = run(launched, tmp_path, number + 1)
        assert found.learned["ctr"] == day(number)
        assert found.learned["version"] == day(number)
    # The CPM's window is over since four days.
    assert status == 75 and found.ages["cpm"] == 9
    assert whats(found) == ["waiting", "old"]
    assert "CPM is 9 days behind, of at most 8" in found.alarms[1].text


def test_late_ads_do_not_hold_up_tpm_and_cpm(launched, tmp_path):
    for number in range(LAUNCH, LAUNCH + 10):
        launched.add("natural", day(number))
    found, _ = run(launched, tmp_path, LAUNCH + 10)
    assert found.learned["cpm"] == day(LAUNCH + 8)
    assert found.learned["tpm"] == day(LAUNCH + 8)


@pytest.mark.parametrize("place", ["tpm", "e_cdctr/cpm"])
def test_a_level_that_fails_keeps_no_other_from_its_day(
    launched, tmp_path, trained, place, caplog
):
    for number in range(LAUNCH, LAUNCH + 10):
        launched.add("natural", day(number))
        launched.add("ads", day(number))
    trained.failing.add(place)
    found, status = run(launched, tmp_path, LAUNCH + 10)
    assert status == 1 and found.status == "failed"
    assert found.learned["ctr"] == found.learned["version"] == day(LAUNCH + 9)
    assert "The disk is slow." in found.alarms[0].text
    # Two CPM windows are due: the second one is not tried without the first.
    results = [of.result for of in found.steps if of.place == place]
    assert results == ["failed", "not tried"][: len(results)]
    trained.failing.clear()
    found, status = run(launched, tmp_path, LAUNCH + 10)
    assert status == 0 and found.ages["cpm"] == found.ages["tpm"] == 1


def test_a_level_too_old_is_no_longer_exported(launched, tmp_path):
    settings = ["clock.cpm_ages=1,3"]
    for number in range(LAUNCH, LAUNCH + 5):
        launched.add("ads", day(number))
    found, status = run(launched, tmp_path, LAUNCH + 5, settings=settings)
    assert status == 1
    assert found.learned["ctr"] == day(LAUNCH + 4)
    assert found.learned["version"] == day(FIRST_ADS)
    said = [alarm.text for alarm in found.alarms]
    assert any("CPM is 6 days behind, of at most 3" in text for text in said)
    request = {"settings": settings, "force_publish": True}
    found, _ = run(launched, tmp_path, LAUNCH + 5, **request)
    assert found.learned["version"] == day(LAUNCH + 4)


def test_a_version_that_the_gate_refuses(launched, tmp_path, trained):
    launched.add("ads", day(LAUNCH))
    trained.failing.add("export")
    found, status = run(launched, tmp_path, LAUNCH + 1)
    assert (found.status, status) == ("refused", 3)
    assert found.ages["ctr"] == 0 and found.ages["version"] == 1


# Five days of ads make the share of the median known.
FLOORS = {
    "a done-file": ("clock.done_file={domain}/{day}/_SUCCESS", "_SUCCESS"),
    "a number": ("clock.least_rows=ads:11", "of at least 11"),
    "a share": ("clock.least_share=0.9", "33% of the 12 that are usual"),
}


@pytest.mark.parametrize("rule", ["wait", "skip", "refuse"])
@pytest.mark.parametrize("floor", FLOORS)
def test_a_day_that_is_not_whole(world, tmp_path, floor, rule, trained):
    setting, why = FLOORS[floor]
    settings = [setting, f"clock.ads={rule}"]
    world.fill(LAUNCH + 3)
    for file in world.path.glob("*/2*"):
        (file / "_SUCCESS").touch()
    run(world, tmp_path, LAUNCH + 4, settings=settings)
    for number, rows in ((LAUNCH + 4, 4), (LAUNCH + 5, 12)):
        world.add("natural", day(number))
        world.add("ads", day(number), rows)
        (world.path / "natural" / day(number) / "_SUCCESS").touch()
    (world.path / "ads" / day(LAUNCH + 5) / "_SUCCESS").touch()
    found, status = run(world, tmp_path, LAUNCH + 6, settings=settings)
    assert status == {"wait": 75, "skip": 0, "refuse": 1}[rule]
    assert any(why in alarm.text for alarm in found.alarms), found.alarms
    goes_on = rule == "skip"
    assert found.learned["ctr"] == day(LAUNCH + (5 if goes_on else 3))
    if goes_on:
        assert found.skipped == (day(LAUNCH + 4),)
        # What it was trained without is never asked for again, as when the
        # day is converted again.
        assert not (tmp_path / "run/e_cdctr/ctr" / day(LAUNCH + 4)).exists()
        world.add("natural", day(LAUNCH + 6))
        world.add("ads", day(LAUNCH + 6))
        for file in world.path.glob("*/2*"):
            (file / "_SUCCESS").touch()
        found, status = run(
            world, tmp_path, LAUNCH + 7, settings=["clock.ads=wait"]
        )
        assert status == 0 and found.skipped == (day(LAUNCH + 4),)


def test_a_day_that_comes_whole_in_time_is_skipped_no_more(launched, tmp_path):
    settings = ["clock.ads=skip", "clock.least_rows=ads:5"]
    launched.add("natural", day(LAUNCH))
    launched.add("ads", day(LAUNCH), 2)
    found, _ = run(launched, tmp_path, LAUNCH + 1, settings=settings)
    assert found.skipped == (day(LAUNCH),)
    store.remove(launched.path / "ads" / day(LAUNCH))
    launched.add("ads", day(LAUNCH))
    found, _ = run(launched, tmp_path, LAUNCH + 1, settings=settings)
    assert found.learned["ctr"] == day(LAUNCH)
    assert found.skipped == ()


def test_levels_that_begin_wait_for_what_they_need(world, tmp_path):
    """The natural logs of the eve are late: there is no CPM to begin with."""
    world.fill(FIRST_ADS - 2)
    world.add("ads", day(FIRST_ADS))
    models = ("e_cdctr", "ads_only", "no_regret")
    found, status = run(world, tmp_path, LAUNCH, models=models)
    assert status == 75
    of = {step.title: step.reason for step in found.steps}
    assert of["A-CTR, E-CDCTR"] == "there is no CPM yet"
    assert "E-CDCTR has not scored" in of["A-CTR, no-regret mixture"]
    assert store.dated(tmp_path / "run/ads_only/ctr") == [day(FIRST_ADS)]
    world.add("natural", day(FIRST_ADS - 1))
    found, status = run(world, tmp_path, LAUNCH, models=models)
    assert status == 0 and not found.alarms
    for model in ("e_cdctr", "ads_only", "cpm_only", "no_regret"):
        there = store.dated(tmp_path / "run" / model / "ctr")
        assert there == [day(FIRST_ADS)]


def test_nothing_is_due_before_the_first_scored_day_is_known(world, tmp_path):
    """The first ads may be late, and no TPM must have learned their day."""
    for number in range(12):
        world.add("natural", day(number))
    found, status = run(world, tmp_path, 12)
    assert status == 0
    assert {step.action for step in found.steps} == {"nothing"}
    assert "no ads yet, nor a schedule.ctr_first" in found.steps[0].reason
    world.add("ads", day(FIRST_ADS))
    found, status = run(world, tmp_path, 12)
    assert status == 75
    assert store.dated(tmp_path / "run/tpm") == [day(FIRST_ADS - 1)]
    assert found.learned["ctr"] == day(FIRST_ADS)


def test_the_tpm_rolls_on_towards_a_first_scored_day(world, tmp_path, trained):
    settings = [f"schedule.ctr_first={day(25)}"]
    for number in range(25):
        world.add("natural", day(number))
        found, _ = run(world, tmp_path, number + 1, settings=settings)
    assert [call[:2] for call in trained.calls if call[0] != "historical"] == [
        ("tpm", f"{day(0)}..{day(9)}"),
        ("tpm", f"{day(10)}..{day(19)}"),
        ("tpm", f"{day(20)}..{day(24)}"),
        ("e_cdctr/cpm", f"{day(20)}..{day(24)}"),
    ]


def test_weekdays_on_which_levels_are_due(launched, tmp_path):
    """2024-01-15 is a Monday; the CPM's window is over on the 14th."""
    settings = ["clock.cpm_on=tue", "clock.export_on=mon"]
    days = {}
    for number in range(LAUNCH, LAUNCH + 8):
        launched.add("natural", day(number))
        launched.add("ads", day(number))
        found, status = run(launched, tmp_path, number + 1, settings=settings)
        assert status == 0
        days[found.date] = found.learned
    assert days["2024-01-15"]["cpm"] == days["2024-01-12"]["cpm"]
    assert days["2024-01-16"]["cpm"] == "2024-01-14"
    assert days["2024-01-14"]["version"] == day(FIRST_ADS)
    assert days["2024-01-18"]["version"] == "2024-01-14"


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    launched, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    launched.add("ads", day(LAUNCH))
    before = training_world.tree(tmp_path)
    request = launched.request(
        tmp_path / "run", date=day(LAUNCH + 1), dry_run=True
    )
    stages.run(request)
    said = capsys.readouterr().out
    assert f"Plan of {day(LAUNCH + 1)}" in said
    assert "the logs are whole" in said and f"{day(FIRST_ADS)} is live" in said
    assert training_world.tree(tmp_path) == before
    assert not (tmp_path / "run" / auto.LOCK).exists()
    fresh = dataclasses.replace(request, workdir=tmp_path / "fresh")
    stages.run(fresh)
    assert not fresh.workdir.exists()


def _go_on(world, last):
    """Write the days after those of `launched`."""
    for number in range(LAUNCH, last + 1):
        for domain in clock_world.ROWS:
            world.add(domain, day(number))


def test_a_date_in_the_past_is_not_behind_what_is_live(launched, tmp_path):
    _go_on(launched, LAUNCH + 3)
    run(launched, tmp_path, LAUNCH + 4)
    found, _ = run(launched, tmp_path, LAUNCH + 1)
    assert found.learned["version"] > found.date
    assert found.ages["version"] == 0


def test_a_date_in_the_future_is_only_planned(
    launched, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(as_of, "today", lambda data: day(LAUNCH))
    date = day(LAUNCH + 2)
    request = launched.request(tmp_path / "run", date=date)
    with pytest.raises(ValueError, match="lies in the future: today is "):
        stages.run(request)
    assert record.read(tmp_path / "run", date) is None
    stages.run(dataclasses.replace(request, dry_run=True))
    assert f"Plan of {date}" in capsys.readouterr().out


def test_nothing_begins_after_an_end_was_asked_for(
    launched, tmp_path, trained, monkeypatch
):
    """Also where an error hides that."""
    _go_on(launched, LAUNCH)
    before = list(trained.calls)
    trained.failing.add("e_cdctr/ctr")
    monkeypatch.setattr(termination, "asked", lambda: True)
    with pytest.raises(ValueError, match="The disk is slow"):
        run(launched, tmp_path, LAUNCH + 1)
    found = record.read(tmp_path / "run", day(LAUNCH + 1))
    assert found.status == record.RUNNING
    assert trained.calls == before


def test_a_model_is_not_added_without_what_it_begins_with(launched, tmp_path):
    _go_on(launched, LAUNCH + 5)
    run(launched, tmp_path, LAUNCH + 6)
    directory = tmp_path / "run/e_cdctr/cpm"
    for name in store.dated(directory)[:-1]:
        store.remove(directory / name)
    found, status = run(
        launched, tmp_path, LAUNCH + 6, models=("e_cdctr", "cpm_only")
    )
    assert status == 1
    (alarm,) = found.alarms
    assert "there is no CPM from before " in alarm.text
    assert "in another --workdir" in alarm.text


def test_a_work_directory_that_is_not_there_is_not_made(world, tmp_path):
    place = tmp_path / "misspelt"
    with pytest.raises(FileNotFoundError, match="no work directory at"):
        stages.run(world.request(place, stage="monitor"))
    assert not place.exists()


def test_nothing_is_deleted_beside_a_clock(launched, tmp_path):
    request = launched.request(tmp_path / "run", stage="clean")
    with processes.locked_by_another_process(request.workdir, auto.LOCK):
        with pytest.raises(ValueError, match="in use by another process"):
            stages.run(request)


def test_one_clock_at_a_time(launched, tmp_path):
    workdir = tmp_path / "run"
    with processes.locked_by_another_process(workdir, auto.LOCK):
        with pytest.raises(ValueError, match="in use by another process"):
            stages.run(launched.request(workdir, date=day(LAUNCH)))


def test_a_clock_that_is_taken_is_tried_again(launched, tmp_path, capsys):
    workdir = tmp_path / "run"
    with store.lock(workdir, "resting", auto.LOCK):
        with pytest.raises(SystemExit) as ended, command_line.reported():
            stages.run(launched.request(workdir, date=day(LAUNCH)))
    assert ended.value.code == 75
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("place", ["tpm", "e_cdctr/cpm", "e_cdctr/ctr"])
def test_a_level_that_another_process_trains_is_waited_for(
    launched, tmp_path, trained, monkeypatch, place
):
    """And what begins with it; the others do what is due."""
    _go_on(launched, LAUNCH + 9)
    train, directory = auto.natural.train, tmp_path / "run" / place

    def locked(level, window):
        with store.lock(level.directory, "training"):
            train(level, window)

    def trainer(level):
        def run(parts):
            for part in parts:
                locked(level, part)

        return types.SimpleNamespace(run=run)

    monkeypatch.setattr(auto.natural, "train", locked)
    monkeypatch.setattr(auto.mixing, "trainer", trainer)
    with store.lock(directory, "training"):
        found, status = run(launched, tmp_path, LAUNCH + 10)
    assert (found.status, status) == ("waiting", 75)
    assert "is already training in" in found.alarms[0].text
    assert {of.result for of in found.steps if of.place == place} == {"waiting"}
    newest = {"tpm": LAUNCH + 8, "e_cdctr/cpm": LAUNCH + 8}
    for other in ("tpm", "e_cdctr/cpm", "e_cdctr/ctr"):
        there = store.dated(tmp_path / "run" / other)
        whole = day(newest.get(other, LAUNCH + 9))
        assert (there[-1] == whole) == (other != place)
    found, status = run(launched, tmp_path, LAUNCH + 10)
    assert (found.status, status) == ("done", 0)


@pytest.mark.parametrize("file", ["saved_model.pb", store.MANIFEST])
def test_a_damaged_version_is_not_called_live(launched, tmp_path, file):
    """It keeps no level from its day, and is made again once it is gone."""
    run_dir = tmp_path / "run"
    version = run_dir / "export" / day(FIRST_ADS).replace("-", "")
    manifest = store.read_manifest(version)
    shutil.rmtree(version)
    manifest.files = {}
    with store.publish(version, manifest) as staging:
        (staging / "saved_model.pb").write_bytes(b"0123456789")
    launched.add("natural", day(LAUNCH))
    assert run(launched, tmp_path, LAUNCH + 1)[1] == 75  # Ads are late.
    whole = (version / file).read_bytes()
    (version / file).write_bytes(whole[:-1] + b"x")
    launched.add("natural", day(LAUNCH + 1))
    found, status = run(launched, tmp_path, LAUNCH + 2)
    assert (found.status, status) == ("failed", 1)
    (said,) = (a.text for a in found.alarms if a.what == "failed")
    assert f"Delete {version} to rebuild it" in said
    assert whats(found) == ["waiting", "failed"]
    shutil.rmtree(version)
    found, status = run(launched, tmp_path, LAUNCH + 2)
    assert status == 75 and found.learned["version"] == day(FIRST_ADS)


def test_a_day_rolled_back_and_trained_again_waits_for_a_number(
    launched, tmp_path
):
    """Nothing fails until the next day, which is exported as ever."""
    newest = tmp_path / "run/e_cdctr/ctr" / day(FIRST_ADS)
    number = int(day(FIRST_ADS).replace("-", ""))
    back = versions.Withdrawal("0" * 64, "now", "CTR fell")
    versions.keep_withdrawn(tmp_path / "run/export", {number: back})
    store.remove(tmp_path / "run/export" / str(number))
    found, status = run(launched, tmp_path, LAUNCH)
    assert status == 0 and found.learned["version"] is None
    assert newest.exists()
    reason = found.steps[-1].reason
    assert "(CTR fell)" in reason and "--version" in reason
    _go_on(launched, LAUNCH)
    found, status = run(launched, tmp_path, LAUNCH + 1)
    assert status == 0 and found.learned["version"] == day(LAUNCH)


def test_a_day_that_one_model_skipped_is_not_lost_to_another(
    launched, tmp_path, trained
):
    """It failed on the date; the day has come whole since."""
    models = ("e_cdctr", "ads_only")
    settings = ["clock.ads=skip", "clock.least_rows=ads:5"]
    given = {"models": models, "settings": settings}
    run(launched, tmp_path, LAUNCH, **given)
    _go_on(launched, LAUNCH + 1)
    store.remove(launched.path / "ads" / day(LAUNCH))
    launched.add("ads", day(LAUNCH), 2)
    trained.failing.add("ads_only/ctr")
    found, _ = run(launched, tmp_path, LAUNCH + 2, **given)
    assert found.skipped == (day(LAUNCH),)
    store.remove(launched.path / "ads" / day(LAUNCH))
    launched.add("ads", day(LAUNCH))
    trained.failing.clear()
    run(launched, tmp_path, LAUNCH + 2, **given)
    learned = {
        name: store.dated(tmp_path / "run" / name / "ctr") for name in models
    }
    lost = set(learned["ads_only"]) - set(learned["e_cdctr"])
    assert lost == {day(LAUNCH)}


def test_natural_days_without_rows_are_waited_for(world, tmp_path, trained):
    for number in range(12):
        world.add("natural", day(number), 0)
        world.add("ads", day(number))
    found, status = run(world, tmp_path, 12)
    assert status == 75
    assert "there are no natural rows yet" in found.alarms[0].text
    assert not trained.calls


def test_a_date_that_nobody_plans_is_refused(launched, tmp_path):
    """Listing the windows of decades would take minutes."""
    request = launched.request(tmp_path / "run", dry_run=True)
    for date in ("2100-01-01", "9999-12-31"):
        with pytest.raises(ValueError, match=f"--date={date} is more than"):
            stages.run(dataclasses.replace(request, date=date))


def test_damage_that_gauges_find_does_not_hide_what_a_date_came_to(
    launched, tmp_path, caplog
):
    """As where a model that the clock does not train is damaged."""
    file = tmp_path / "run/star/ctr" / day(LAUNCH) / store.MANIFEST
    store.write_text(file, "[]")
    found, status = run(launched, tmp_path, LAUNCH + 1)
    assert (found.status, status) == ("waiting", 75)
    assert f"Monitoring: {file} is not a manifest" in caplog.text
    _go_on(launched, LAUNCH)
    caplog.clear()
    found, status = run(launched, tmp_path, LAUNCH + 1)
    assert (found.status, status) == ("done", 0)
    assert f"Monitoring: {file} is not a manifest" in caplog.text
    gauges = (tmp_path / "run" / prometheus.FILE).read_text()
    assert 'ecdctr_damaged{level="ctr",model="star"} 1.0' in gauges
    assert 'ecdctr_damaged{level="ctr",model="e_cdctr"} 0.0' in gauges
    # Whoever asks for gauges alone is told by the status, too.
    request = launched.request(tmp_path / "run", stage="monitor")
    with pytest.raises(ValueError, match=f"{file} is not a manifest"):
        stages.run(request)


def test_the_record_is_what_others_read(launched, tmp_path):
    found = json.loads(record.path(tmp_path / "run", day(LAUNCH)).read_text())
    assert found["ages"] == {"tpm": 1, "cpm": 1, "ctr": 0, "version": 0}
    assert found["status"] == "done" and found["alarms"] == []
    trained = [s["place"] for s in found["steps"] if s["result"] == "done"]
    assert trained == [
        "tpm",
        "historical",
        "e_cdctr/cpm",
        "e_cdctr/ctr",
        "",
    ]


def test_a_damaged_record_is_named(launched, tmp_path):
    file = record.path(tmp_path / "run", day(LAUNCH))
    file.write_text(file.read_text()[:-30])
    said = rf"{day(LAUNCH)}.json does not hold .*\)\. Put it back"
    with pytest.raises(ValueError, match=said):
        run(launched, tmp_path, LAUNCH + 1)


@pytest.mark.parametrize("name", ["operation", "withdrawn"])
def test_a_digit_of_a_record_is_not_believed(launched, tmp_path, name):
    """The date may be that of a day that was skipped."""
    file = record.path(tmp_path / "run", day(LAUNCH))
    if name == "withdrawn":
        file = tmp_path / "run/export" / versions.WITHDRAWN
        back = versions.Withdrawal("0" * 64, f"{day(1)}T03:10", "")
        versions.keep_withdrawn(file.parent, {20240102: back})
    text = file.read_text()
    file.write_text(text.replace("2024-01-0", "2024-01-1", 1))
    assert file.read_text() != text
    readers = {
        "operation": lambda: record.newest(tmp_path / "run"),
        "withdrawn": lambda: versions.withdrawn(file.parent),
    }
    with pytest.raises(ValueError, match=f"{file.name} .*was edited"):
        readers[name]()
    file.write_text(text)
    readers[name]()


def test_the_status_reaches_the_shell(launched, tmp_path, capsys):
    request = launched.request(tmp_path / "run", date=day(LAUNCH + 1))
    with pytest.raises(SystemExit) as ended, command_line.reported():
        stages.run(request)
    assert ended.value.code == 75
    assert "is waiting: A-CTR, E-CDCTR" in capsys.readouterr().err


# The days that can be seen.


def test_days_from_the_date_on_cannot_be_seen(world):
    world.fill(12)
    data = DataDirectory(world.path)
    seen = as_of.AsOf(data, day(11), {"ads": [day(10)]})
    assert seen.days("natural")[-1] == day(10)
    assert seen.table_rows(day(12)) == data.table_rows(day(10))
    assert seen.rows("ads", Window(day(9), day(10))) == 12
    assert seen.files("ads", day(10)) == []
    assert data.rows("ads", Window(day(9), day(10))) == 24
    with pytest.raises(ValueError, match="lacks"):
        seen.rows("ads", Window(day(11), day(11)))
    with pytest.raises(ValueError, match="YYYY-MM-DD. Received: 'today'"):
        as_of.AsOf(data, "today")


def test_features_are_those_of_the_newest_day_that_is_seen(world):
    world.fill(12)
    old = training_world.SMALL_SPEC
    until = {domain: day(12) for domain in ("natural", "ads")}
    former_specs.save(world.path, [former_specs.Former(old, until)])
    new = old.without(["price"])
    new.save(world.path / "spec.json")
    for domain in until:
        world.add(domain, day(13))
    data = DataDirectory(world.path)
    assert as_of.AsOf(data, day(14)).spec == new
    before = as_of.AsOf(data, day(13))
    assert (before.spec, before.former) == (old, [])


@pytest.mark.parametrize(
    ("zone", "hours"), [("UTC", 0), ("UTC+08:00", 8), ("UTC-03:30", -3.5)]
)
def test_today_is_that_of_the_zone_of_days(world, zone, hours, monkeypatch):
    state = store.Manifest("conversion_state", Window(day(0), day(0)))
    state.config["zone"] = zone
    with store.publish(world.path / "state" / day(0), state):
        pass
    utc = datetime.timezone(datetime.timedelta(hours=hours))
    assert as_of.today(DataDirectory(world.path)) in {
        datetime.datetime.now(utc).date().isoformat()
    }
