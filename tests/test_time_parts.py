"""Parts of a window in time: which rows they are, and that none is lost."""

import numpy as np
import pytest

from ecdctr_tf import features, windows
from ecdctr_tf.input import sources, streams, time_parts
from tests import conftest

DAYS = windows.Window("2024-01-01", "2024-01-03")
DAY = windows.Window("2024-01-03", "2024-01-03")
# Of `DAY`, whose natural rows are those of the numbers 40 to 59.
MOMENT = windows.day_number("2024-01-03") * 86_400 + 53


def part(later: bool, **rows: int) -> time_parts.Part:
    return time_parts.Part(MOMENT, later, rows)


def numbers(stream) -> list[list[int]]:
    """Return the numbers of the rows, batch by batch."""
    return [
        inputs["price"].astype(int).tolist()
        for inputs, _ in stream.as_numpy_iterator()
    ]


@pytest.mark.parametrize("seed", [None, 3])
def test_the_parts_are_all_rows_in_the_order_of_the_whole(tiny_data, seed):
    whole = sum(
        numbers(streams.batches(tiny_data, "natural", DAYS, 8, seed)), []
    )
    for later, count in ((False, 53), (True, 7)):
        mine = part(later, natural=count)
        stream = streams.batches(tiny_data, "natural", DAYS, 8, seed, part=mine)
        found = numbers(stream)
        assert sum(found, []) == [n for n in whole if (n >= 53) == later]
        # Even batches, and no column of times.
        sizes = {len(batch) for batch in found}
        assert len(found) == -(-count // 8)
        assert max(sizes) - min(sizes) <= 1
        assert set(stream.element_spec[0]) == set(
            streams.batches(tiny_data, "natural", DAYS, 8).element_spec[0]
        )


def test_a_part_is_taken_up_after_any_batch_and_gone_through_in_passes(
    tiny_data,
):
    options = {"seed": 5, "passes": 2, "part": part(False, natural=53)}
    whole = numbers(streams.batches(tiny_data, "natural", DAYS, 8, **options))
    assert sorted(sum(whole, [])) == sorted([*range(53), *range(53)])
    rest = streams.batches(tiny_data, "natural", DAYS, 8, skip=3, **options)
    assert numbers(rest) == whole[3:]


def test_row_wise_files_are_parted_alike(tiny_data, tmp_path, tiny_spec):
    day = "2024-01-05"
    rows = conftest.tiny_rows(day, 0, 20)
    tiny_data.write_day("natural", day, [rows], {}, "examples")
    moment = windows.day_number(day) * 86_400 + 15
    mine = time_parts.Part(moment, True, {"natural": 5})
    stream = streams.batches(
        tiny_data, "natural", windows.Window(day, day), 8, part=mine
    )
    assert numbers(stream) == [[15, 16, 17, 18, 19]]


def test_domains_are_parted_at_one_moment(tiny_data):
    """Ads of days 2 to 4 have the numbers 60 to 89, ten a day."""
    days = {"natural": DAYS, "ads": windows.Window("2024-01-02", "2024-01-03")}
    moment = windows.day_number("2024-01-03") * 86_400 + 56
    for later, natural, ads in ((False, 56, 10), (True, 4, 10)):
        mine = time_parts.Part(moment, later, {"natural": natural, "ads": ads})
        stream = streams.mixed(tiny_data, days, 8, seed=0, part=mine)
        found = sum(numbers(stream), [])
        first = range(56, 60) if later else range(56)
        of_ads = range(70, 80) if later else range(60, 70)
        assert sorted(found) == [*first, *of_ads]


def test_a_part_without_rows_of_a_domain(tiny_data):
    days = {"natural": DAY, "ads": DAY}
    moment = windows.day_number("2024-01-03") * 86_400 + 75
    mine = time_parts.Part(moment, True, {"natural": 0, "ads": 5})
    stream = streams.mixed(tiny_data, days, 8, seed=0, part=mine)
    assert sorted(sum(numbers(stream), [])) == [75, 76, 77, 78, 79]


@pytest.mark.parametrize(
    "share, rows", [(0.1, 2), (0.3, 6), (0.01, 1), (0.5, 10)]
)
def test_the_last_rows_are_a_share(tiny_data, share, rows):
    found = time_parts.last(tiny_data, "natural", DAY, share)
    first = windows.day_number("2024-01-03") * 86_400 + 60 - rows
    assert found == time_parts.Part(first, True, {"natural": rows})


def test_the_last_rows_of_several_days(tiny_data):
    """Of the window, not of each day."""
    found = time_parts.last(tiny_data, "natural", DAYS, 0.25)
    assert found.rows == {"natural": 15}
    assert found.moment == windows.day_number("2024-01-03") * 86_400 + 45


@pytest.mark.parametrize(
    "seconds, held",
    [
        # Nearest to 2 of 20: the last second with 3 rows, not with 8.
        ([0] * 12 + [1] * 5 + [2] * 3, 3),
        ([0] * 12 + [1] * 2 + [2] * 6, 6),
        ([7] * 20, 20),
        # In no order of files.
        ([9, 9, *range(8), *range(8), 3, 3], 2),
    ],
)
def test_rows_of_a_second_are_never_parted(tiny_data, seconds, held):
    day = "2024-01-05"
    rows = conftest.tiny_rows(day, 0, 20)
    start = windows.day_number(day) * 86_400
    rows["timestamp"] = start + np.array(seconds)
    tiny_data.write_day("natural", day, [rows], {})
    window = windows.Window(day, day)
    found = time_parts.last(tiny_data, "natural", window, 0.1)
    assert found.rows == {"natural": held}
    moment = found.moment
    count = time_parts.rows_from(tiny_data, "natural", window, moment)
    assert count == held == (rows["timestamp"] >= moment).sum()


def test_sources_that_are_left_out_are_not_counted(tiny_data):
    day = "2024-01-05"
    rows = conftest.tiny_rows(day, 0, 20)
    rows[features.SOURCE] = 1 + np.arange(20) % 2
    names = ("feed", "search")
    tiny_data.write_day("natural", day, [rows], {}, sources=names)
    window = windows.Window(day, day)
    use = sources.use(tiny_data, window, sources.Wish(exclude=("feed",)))
    moment = windows.day_number(day) * 86_400 + 15
    count = time_parts.rows_from(tiny_data, "natural", window, moment, use)
    assert count == 3
    mine = time_parts.Part(moment, True, {"natural": count})
    stream = streams.batches(
        tiny_data, "natural", window, 8, use=use, part=mine
    )
    assert numbers(stream) == [[15, 17, 19]]
