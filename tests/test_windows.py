import pytest

from ecdctr_tf import windows


def test_day_number_counts_from_1970():
    assert windows.day_number("1970-01-01") == 0
    assert windows.day_number("1970-02-01") == 31
    # 30 years of 365 days and the leap days of 1972, 76, 80, 84, 88, 92, 96.
    assert windows.day_number("2000-01-01") == 30 * 365 + 7


def test_day_name_undoes_day_number():
    for day in ("1969-12-31", "2024-02-29", "2024-12-31"):
        assert windows.day_name(windows.day_number(day)) == day


# The last three are ISO 8601, but would not sort among YYYY-MM-DD days.
@pytest.mark.parametrize(
    "day",
    ["2024-02-30", "yesterday", "", None, 20240101]
    + ["20240101", "2024-W01-1", "2024W011"],
)
def test_day_number_of_no_day_raises(day):
    with pytest.raises(ValueError, match="should be written YYYY-MM-DD"):
        windows.day_number(day)


def test_window_days_cross_a_leap_day():
    window = windows.Window("2024-02-28", "2024-03-01")
    assert window.days == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert str(window) == "2024-02-28..2024-03-01"


def test_window_of_one_day():
    assert windows.Window("2024-01-01", "2024-01-01").days == ["2024-01-01"]


def test_window_that_ends_before_it_starts_raises():
    with pytest.raises(ValueError, match="not end before it starts"):
        windows.Window("2024-01-02", "2024-01-01")


def test_ending_counts_both_ends():
    window = windows.Window.ending("2024-03-01", 3)
    assert window == windows.Window("2024-02-28", "2024-03-01")


def test_ending_without_days_raises():
    with pytest.raises(ValueError, match="not end before it starts"):
        windows.Window.ending("2024-03-01", 0)


def test_split_leaves_a_shorter_last_window():
    parts = windows.Window("2024-01-01", "2024-01-05").split(2)
    assert [str(part) for part in parts] == [
        "2024-01-01..2024-01-02",
        "2024-01-03..2024-01-04",
        "2024-01-05..2024-01-05",
    ]


def test_split_by_nothing_raises():
    with pytest.raises(ValueError, match="`days` should be at least 1"):
        windows.Window("2024-01-01", "2024-01-05").split(0)


def test_months_are_cut_by_the_ends_of_the_window():
    months = windows.Window("2023-12-30", "2024-03-01").months()
    assert [str(month) for month in months] == [
        "2023-12-30..2023-12-31",
        "2024-01-01..2024-01-31",
        "2024-02-01..2024-02-29",
        "2024-03-01..2024-03-01",
    ]
