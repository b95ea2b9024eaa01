"""Days that were late or wrong are replaced, and days are taken back."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from absl import flags
from absl.testing import flagsaver

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import convert, data_directory
from ecdctr_tf.input.conversion import converter
from tests import conversion_world as world
from tests.test_appending import Killed, kill_at
from tests.test_convert_append import RICH, events, spec

N, A = features.DOMAINS


def day(number):
    return windows.day_name(world.FIRST_DAY + number)


def on(table, number):
    return pa.array(world.day_of(table) == number)


def without(table, number):
    """Return the table as if a day were not there."""
    return table.filter(pa.array(world.day_of(table) != number))


def half(table, number):
    """Return the table less every second row of a day."""
    kept = (world.day_of(table) != number) | (np.arange(len(table)) % 2 == 0)
    return table.filter(pa.array(kept))


def new_users(table, number):
    """Return the table with users on a day that are nowhere else."""
    users = table["user_id"].to_numpy() + 500 * (world.day_of(table) == number)
    return table.set_column(0, "user_id", pa.array(users))


def other_clicks(table, number):
    """Return the table with the clicks of a day turned round."""
    if "click" not in table.column_names:
        return half(table, number)
    turned = table["click"].to_numpy() ^ (world.day_of(table) == number)
    place = table.column_names.index("click")
    return table.set_column(place, "click", pa.array(turned))


def other_prices(table, number):
    prices = table["price"].to_numpy() + (world.day_of(table) == number)
    place = table.column_names.index("price")
    return table.set_column(place, "price", pa.array(prices))


WRONG = {
    "it lacks rows": half,
    "its users are others": new_users,
    "its clicks are others": other_clicks,
    "its prices are others": other_prices,
    "it came late": without,
}


def wrong_world(name, kind, number, domains=(N, A)):
    """Return the right logs of a world, and those with a wrong day."""
    right = events(name)
    wrong = [
        (d, WRONG[kind](table, number) if d in domains else table)
        for d, table in right
    ]
    return right, wrong


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize(
    "name, number, domains",
    [
        (RICH, 3, (N, A)),
        (RICH, 0, (N,)),
        (RICH, 6, (A,)),
        ("admission and a domain that begins late", 5, (A,)),
        ("clicks of both", 2, (N,)),
        ("drawn, and a domain that ends early", 4, (N,)),
    ],
)
def test_a_replaced_day_is_as_converted_from_the_right_logs(
    tmp_path, name, number, domains, kind
):
    if kind == "it came late" and number in (0, 6):
        pytest.skip("The first and the last day would not be there.")
    right, wrong = wrong_world(name, kind, number, domains)
    whole = world.convert(tmp_path, right, "whole", spec=spec(name))
    out = world.convert(tmp_path, wrong, "out", spec=spec(name))
    again = [(d, t) for d, t in right if d in domains]
    found = replaced(out, again, number, spec(name))
    assert world.everything(out) == world.everything(whole)
    assert min(days[0] for days in found.days.values()) == day(number)
    # Once more it changes nothing.
    assert replaced(out, again, number, spec(name)).days == {}
    assert world.everything(out) == world.everything(whole)


def replaced(out, tables, number, spec_given=None):
    return converter.replace_day(
        spec_given or world.spec(), tables, out, day(number), progress=False
    )


@pytest.mark.long
def test_a_replacement_killed_at_any_step_and_given_again(
    tmp_path, monkeypatch
):
    right, wrong = wrong_world("clicks of both", "its users are others", 4)
    whole = world.convert(tmp_path, right, "whole")
    out = world.convert(tmp_path, wrong, "out")
    before, expected = world.everything(out), world.everything(whole)
    step, done = 0, False
    while not done:
        step += 1
        victim = shutil.copytree(out, tmp_path / f"{step}")
        with monkeypatch.context() as patches:
            kill_at(patches, step)
            try:
                replaced(victim, right, 4)
                done = True
            except Killed:
                pass
        if not (victim / data_directory.PENDING).exists() and not done:
            days = data_directory.DataDirectory(victim).days(N)
            assert days == [day(n) for n in range(7)]
            if step % 2:
                with pytest.raises(ValueError, match="There are no rows"):
                    world.append(victim, [])
                assert world.everything(victim) in (before, expected)
        replaced(victim, right, 4)
        assert world.everything(victim) == expected, step
        shutil.rmtree(victim)
    assert step > 20


@pytest.mark.parametrize("number", [1, 3, 6])
@pytest.mark.parametrize("name", [RICH, "days in the window of neither"])
def test_dropped_days_are_as_if_they_had_not_been_there(tmp_path, name, number):
    tables = events(name)
    out = world.convert(tmp_path, tables, "out", spec=spec(name))
    early = world.of_days(tables, 0, number)
    expected = world.everything(
        world.convert(tmp_path, early, "early", spec=spec(name))
    )
    if name != RICH and number > 1:
        # Days without events that were held stay.
        expected = None
    whole = world.everything(out)
    converter.drop_days(spec(name), out, day(number), progress=False)
    if expected is not None:
        assert world.everything(out) == expected
    world.append(out, world.of_days(tables, number, 7), spec(name))
    assert world.everything(out) == whole


def test_a_drop_killed_at_any_step_and_given_again(tmp_path, monkeypatch):
    tables = events("clicks of both")
    out = world.convert(tmp_path, tables, "out")
    early = world.convert(tmp_path, world.of_days(tables, 0, 5), "early")
    expected = world.everything(early)
    step, done = 0, False
    while not done:
        step += 1
        victim = shutil.copytree(out, tmp_path / f"{step}")
        with monkeypatch.context() as patches:
            kill_at(patches, step)
            try:
                converter.drop_days(
                    world.spec(), victim, day(5), progress=False
                )
                done = True
            except Killed:
                pass
        if not done:
            converter.drop_days(world.spec(), victim, day(5), progress=False)
        assert world.everything(victim) == expected, step
        shutil.rmtree(victim)
    assert step > 10


def test_dropping_a_row_from_the_future_opens_the_directory_again(tmp_path):
    tables = events("clicks of both")
    out = world.convert(tmp_path, world.of_days(tables, 0, 4))
    expected = world.everything(out)
    late = world.of_days(tables, 4, 5)
    ads = late[1][1]
    far = ads["timestamp"].to_numpy() + 20 * 86_400
    place = ads.column_names.index("timestamp")
    far = ads.set_column(place, "timestamp", pa.array(far))
    world.append(out, [late[0], (A, far)])
    converter.drop_days(world.spec(), out, day(4), progress=False)
    assert world.everything(out) == expected
    world.append(out, late)
    assert data_directory.DataDirectory(out).days(A)[-1] == day(4)


@pytest.mark.parametrize(
    "number, tables, message",
    [
        (9, lambda t: t, "no events of 2024-01-10, the day to replace"),
        (3, lambda t: world.of_days(t, 4, 7), "no events of 2024-01-04"),
        (3, lambda t: [], "no events of 2024-01-04"),
        (6, lambda t: t, "holds no 2024-01-07 of ads.*--append"),
    ],
)
def test_a_day_that_cannot_be_replaced_is_refused(
    tmp_path, number, tables, message
):
    every = events("clicks of both")
    ads = world.of_days([every[1]], 0, 5)
    out = world.convert(tmp_path, [every[0], *ads])
    expected = world.everything(out)
    with pytest.raises(ValueError, match=message):
        replaced(out, tables(every), number)
    assert world.everything(out) == expected


@pytest.mark.parametrize("first", ["2024-01-01", "2023-12-01", "2024-1-05"])
def test_days_that_cannot_be_dropped_are_refused(tmp_path, first):
    out = world.convert(tmp_path, events("clicks of both"))
    expected = world.everything(out)
    with pytest.raises(ValueError, match="from the second|written YYYY-MM-DD"):
        converter.drop_days(world.spec(), out, first, progress=False)
    assert world.everything(out) == expected


def test_a_damaged_day_of_events_is_refused(tmp_path):
    tables = events("clicks of both")
    out = world.convert(tmp_path, tables)
    path = out / N / day(2) / data_directory.EVENTS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="events.arrow has .* bytes"):
        replaced(out, [tables[1]], 1)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="events.arrow is listed"):
        replaced(out, [tables[1]], 1)


def publish(path, kind, first, last, **fields):
    manifest = store.Manifest(kind, windows.Window(first, last), **fields)
    with store.publish(path, manifest):
        pass


def test_artefacts_that_saw_the_former_rows_are_named(tmp_path, capsys):
    spec_file = tmp_path / "logs.toml"
    run = tmp_path / "run"
    for last in (2, 5):
        window = day(last - 2), day(last)
        publish(run / "tpm" / day(last), "snapshot", *window)
        parents = {
            "snapshot": store.parent(
                run / "tpm" / day(last), run / "historical/x"
            )
        }
        publish(
            run / "historical" / day(last),
            "historical",
            *window,
            parents=parents,
        )
        publish(run / "e_cdctr/cpm" / day(last), "cpm", *window)
    cpm = store.parent(run / "e_cdctr/cpm" / day(5), run / "e_cdctr/ctr/x")
    for number in (4, 5, 6):
        parents = {"cpm": cpm} if number == 6 else {}
        for model in ("e_cdctr", "ads_only", "joint"):
            publish(
                run / model / "ctr" / day(number),
                "ctr",
                day(number),
                day(number),
                parents=parents if model == "e_cdctr" else {},
                config={"model": model},
            )
    del spec_file

    def saw(days):
        return converter.exchanged.Exchanged(days, False, {}).seen_by(run)

    later = [
        f"{m}/ctr/{day(n)}"
        for m in ("ads_only", "e_cdctr", "joint")
        for n in (5, 6)
    ]
    assert saw({A: [day(5), day(6)]}) == later
    assert saw({N: [day(3), day(4)]}) == [
        f"e_cdctr/cpm/{day(5)}",
        f"e_cdctr/ctr/{day(6)}",
        f"historical/{day(5)}",
        *(f"joint/ctr/{day(n)}" for n in (4, 5, 6)),
        f"tpm/{day(5)}",
    ]
    assert saw({N: [day(6)]}) == [f"joint/ctr/{day(6)}"]
    assert saw({}) == []
    with pytest.raises(FileNotFoundError, match="no work directory"):
        converter.exchanged.Exchanged({}, False, {}).seen_by(tmp_path / "none")


@pytest.mark.parametrize(
    "given, message",
    [
        ({"append": True, "replace": "2024-01-01"}, "exclude each other"),
        ({"replace": "2024-01-01", "drop_from": "2024-01-01"}, "exclude"),
        ({"artefacts_of": ["run"]}, "--artefacts_of says what to look through"),
        (
            {"artefacts_of": ["run"], "append": True},
            "--artefacts_of says what to look",
        ),
        (
            {"artefacts_of": ["/none"], "replace": "2024-01-01"},
            "no work directory",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(capsys, given, message):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(spec="globo.toml", out="data", **given):
        with pytest.raises(SystemExit):
            convert.main(["convert"])
    assert message in capsys.readouterr().err
