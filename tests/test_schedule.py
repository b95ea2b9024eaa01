import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import store
from ecdctr_tf.training import schedule
from ecdctr_tf.windows import Window


class Days:
    """A data directory of which only the days are known."""

    def __init__(self, natural: tuple, ads: tuple, *gaps: tuple):
        self._windows = {"natural": Window(*natural), "ads": Window(*ads)}
        self._gaps = [day for gap in gaps for day in Window(*gap).days]

    def window(self, domain):
        return self._windows[domain]

    def days_with_rows(self, domain):
        days = self._windows[domain].days
        return [day for day in days if day not in self._gaps]

    def days(self, domain):
        return self._windows[domain].days


# Natural logs from January to April, ads in the last ten days of April.
SPRING = Days(("2024-01-15", "2024-04-30"), ("2024-04-21", "2024-04-30"))


def plan(data=SPRING, **fields):
    return schedule.plan(data, configs.ScheduleConfig(**fields))


def test_defaults_cover_all_days():
    found = plan()
    # 15 January to 20 April are 97 days: three times 30 and 7.
    assert found.tpm == [
        Window("2024-01-15", "2024-02-13"),
        Window("2024-02-14", "2024-03-14"),
        Window("2024-03-15", "2024-04-13"),
        Window("2024-04-14", "2024-04-20"),
    ]
    # The week before the first scored day, then one a week: of the second
    # week after it only three days are there.
    assert found.cpm == [
        Window("2024-04-14", "2024-04-20"),
        Window("2024-04-21", "2024-04-27"),
    ]
    assert found.ctr == [
        Window(f"2024-04-{day}", f"2024-04-{day}") for day in range(21, 31)
    ]


def test_tpm_by_months_cuts_the_first_and_the_last():
    assert plan(tpm_days=0).tpm == [
        Window("2024-01-15", "2024-01-31"),
        Window("2024-02-01", "2024-02-29"),
        Window("2024-03-01", "2024-03-31"),
        Window("2024-04-01", "2024-04-20"),
    ]


def test_dates_given_are_taken():
    found = plan(
        tpm_first="2024-02-01",
        tpm_last="2024-02-10",
        tpm_days=5,
        cpm_days=2,
        ctr_first="2024-04-25",
        ctr_last="2024-04-26",
    )
    assert found.tpm == [
        Window("2024-02-01", "2024-02-05"),
        Window("2024-02-06", "2024-02-10"),
    ]
    assert found.cpm == [Window("2024-04-23", "2024-04-24")]
    assert found.ctr == [
        Window("2024-04-25", "2024-04-25"),
        Window("2024-04-26", "2024-04-26"),
    ]


def test_catch_up_days_come_before_the_first_scored_day():
    found = plan(catch_up_days=3)
    assert found.ctr[0] == Window("2024-04-24", "2024-04-24")
    assert found.cpm == [Window("2024-04-17", "2024-04-23")]
    assert found.tpm[-1].last == "2024-04-23"
    # A first day that is given stays, however many days it catches up on.
    first = plan(catch_up_days=3, ctr_first="2024-04-22").ctr[0].first
    assert first == "2024-04-22"


@pytest.mark.parametrize("first", ["2024-04-10", "2024-04-05"])
def test_ads_that_begin_with_natural_logs_wait_for_them(first):
    data = Days(("2024-04-10", "2024-04-30"), (first, "2024-04-30"))
    assert plan(data).ctr[0].first == "2024-04-17"
    assert plan(data).tpm == [Window("2024-04-10", "2024-04-16")]
    assert plan(data).cpm[0] == Window("2024-04-10", "2024-04-16")
    # Days that are appended move nothing.
    more = Days(("2024-04-10", "2024-05-30"), (first, "2024-05-30"))
    assert plan(more).ctr[0].first == "2024-04-17"
    assert plan(data, cpm_days=3).ctr[0].first == "2024-04-13"
    assert plan(data, ctr_first="2024-04-20").ctr[0].first == "2024-04-20"


def test_logs_of_few_days_name_what_to_set():
    data = Days(("2024-04-10", "2024-04-14"), ("2024-04-10", "2024-04-14"))
    with pytest.raises(ValueError, match="A-CTR no window.*cpm_days"):
        plan(data)


def test_cpm_every_refreshes_on_the_days_since_the_last():
    found = plan(cpm_every=4).cpm
    assert found == [
        Window("2024-04-14", "2024-04-20"),
        Window("2024-04-21", "2024-04-24"),
        # The next one would end on the 32nd; nothing scored comes after it.
        Window("2024-04-25", "2024-04-28"),
    ]


def test_cpm_is_refreshed_for_a_scored_day_only():
    """A CPM up to the 29th is of use on the 30th, one up to the 30th not."""
    assert plan(cpm_every=9).cpm[-1] == Window("2024-04-21", "2024-04-29")
    assert len(plan(cpm_every=10).cpm) == 1


def test_cpm_window_begins_with_the_natural_logs_at_the_earliest():
    data = Days(("2024-04-19", "2024-04-30"), ("2024-04-21", "2024-04-30"))
    assert plan(data).cpm[0] == Window("2024-04-19", "2024-04-20")


def test_cpm_every_of_zero_is_one_cpm():
    assert plan(cpm_every=0).cpm == [Window("2024-04-14", "2024-04-20")]


def test_tpm_rolls_on_while_ads_are_scored():
    """Whole windows only, each over before the last scored day."""
    # 15 January to 20 April, then four days at a time up to the 29th.
    assert plan(tpm_days=4).tpm[-3:] == [
        Window("2024-04-20", "2024-04-20"),
        Window("2024-04-21", "2024-04-24"),
        Window("2024-04-25", "2024-04-28"),
    ]
    # A last day that is given is the last one.
    assert plan(tpm_days=4, tpm_last="2024-04-20").tpm[-1].last == "2024-04-20"


def test_tpm_by_months_rolls_on_at_the_end_of_a_month():
    ads = ("2024-04-21", "2024-06-01")
    assert plan(Days(("2024-04-01", "2024-06-01"), ads), tpm_days=0).tpm == [
        Window("2024-04-01", "2024-04-20"),
        Window("2024-04-21", "2024-04-30"),
        Window("2024-05-01", "2024-05-31"),
    ]
    # The 30th of May is not the end of a month.
    ads = ("2024-04-21", "2024-05-31")
    found = plan(Days(("2024-04-01", "2024-05-31"), ads), tpm_days=0).tpm
    assert found[-1] == Window("2024-04-21", "2024-04-30")


def publish(directory, *learned):
    for window in learned:
        manifest = store.Manifest("snapshot", window)
        with store.publish(directory / window.last, manifest):
            pass


JANUARY = [
    Window("2024-01-01", "2024-01-03"),
    Window("2024-01-04", "2024-01-06"),
    Window("2024-01-07", "2024-01-09"),
]


def test_windows_that_were_learned_are_left_out(tmp_path, caplog):
    publish(tmp_path, *JANUARY[:2])
    assert schedule.left(JANUARY, tmp_path, "snapshot") == JANUARY[2:]
    assert schedule.left(JANUARY, tmp_path / "new", "snapshot") == JANUARY
    assert not caplog.records


def test_a_window_of_another_schedule_is_cut_and_said(tmp_path, caplog):
    """Days 1 to 5 were learned at once: day 6 is left of the second."""
    publish(tmp_path, Window("2024-01-01", "2024-01-05"))
    assert schedule.left(JANUARY, tmp_path, "snapshot") == [
        Window("2024-01-06", "2024-01-06"),
        JANUARY[2],
    ]
    passed, cut = (record.getMessage() for record in caplog.records)
    assert "2024-01-01..2024-01-03 is skipped" in passed
    assert "of the window 2024-01-04..2024-01-06, only 2024-01-06" in cut


def test_ctr_days_make_windows_of_which_the_last_may_be_shorter():
    assert plan(ctr_days=4).ctr == [
        Window("2024-04-21", "2024-04-24"),
        Window("2024-04-25", "2024-04-28"),
        Window("2024-04-29", "2024-04-30"),
    ]


def test_tpm_ends_with_the_natural_logs_where_ads_go_on():
    data = Days(("2024-01-01", "2024-01-10"), ("2024-02-01", "2024-02-02"))
    assert plan(data).tpm == [Window("2024-01-01", "2024-01-10")]


GAPS = {
    "a month within": [("2024-02-10", "2024-03-17")],
    "a whole window": [("2024-02-14", "2024-03-14")],
    "two gaps": [("2024-01-20", "2024-02-13"), ("2024-03-15", "2024-04-13")],
    "up to the launch": [("2024-04-10", "2024-04-20")],
    "while ads are scored": [("2024-04-21", "2024-04-27")],
    "after the launch": [("2024-04-19", "2024-04-30")],
}


@pytest.mark.parametrize("gap", GAPS)
def test_windows_in_a_gap_of_the_natural_logs_are_left_out(gap):
    data = Days(
        ("2024-01-15", "2024-04-30"), ("2024-04-21", "2024-04-30"), *GAPS[gap]
    )
    with_rows = set(data.days_with_rows("natural"))
    found = plan(data, tpm_days=10, cpm_every=3)
    for planned in (found.tpm, found.cpm):
        assert all(with_rows & set(window.days) for window in planned)
    # The gap takes no other windows: each day with rows is learned.
    learned = {day for window in found.tpm for day in window.days}
    assert {day for day in with_rows if day <= "2024-04-20"} <= learned
    # What is scored first has a CPM, of the newest rows there are.
    first = found.cpm[0]
    assert first.last == max(day for day in with_rows if day <= "2024-04-20")
    assert len(first.days) == 7


def test_the_tpm_has_a_window_before_the_launch_whatever_its_last_day():
    """Without one no historical version is there for the first scored day."""
    for last, ends in (
        ("2024-04-10", ["2024-04-03", "2024-04-10"]),
        ("2024-04-20", ["2024-04-13", "2024-04-20"]),
        ("2024-04-22", ["2024-04-13", "2024-04-20", "2024-04-22"]),
        ("2024-04-30", ["2024-04-20", "2024-04-30"]),
        ("2024-05-03", ["2024-04-20", "2024-04-30", "2024-05-03"]),
    ):
        found = plan(tpm_last=last, tpm_days=10).tpm
        assert [window.last for window in found][-len(ends) :] == ends


@pytest.mark.parametrize("field", ["tpm_first", "tpm_last", "ctr_last"])
@pytest.mark.parametrize("date", ["2024-02-30", "2024-1-15", "soon"])
def test_bad_date_raises(field, date):
    with pytest.raises(
        ValueError, match=rf"written YYYY-MM-DD. Received: '{date}'.*{field}"
    ):
        plan(**{field: date})


def test_bad_first_scored_day_raises():
    with pytest.raises(ValueError, match="A-CTR.*'2024-04-31'.*ctr_first"):
        plan(ctr_first="2024-04-31")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"ctr_first": "2024-04-29", "ctr_last": "2024-04-28"},
            "A-CTR no window.*first=2024-04-29, last=2024-04-28. Set "
            "schedule.ctr_first, ctr_last, cpm_days or catch_up_days",
        ),
        # More days to catch up on than there are ads.
        (
            {"catch_up_days": 10},
            "A-CTR no window.*first=2024-05-01, last=2024-04-30.*catch_up_days",
        ),
        (
            {"tpm_first": "2024-03-01", "tpm_last": "2024-02-01"},
            "TPM no window.*first=2024-03-01, last=2024-02-01.*tpm_first",
        ),
        # Scored from the first natural day on: nothing to pre-train on.
        (
            {"ctr_first": "2024-01-15"},
            "TPM no window.*first=2024-01-15, last=2024-01-14.*ctr_first",
        ),
        (
            {"ctr_first": "2024-01-14", "tpm_first": "2024-01-01"},
            "CPM no window.*last=2024-01-13. Set schedule.ctr_first",
        ),
    ],
)
def test_dates_in_the_wrong_order_raise(fields, message):
    there = "There are natural logs of 2024-01-15.*, and ads of 20.*2024-04-30"
    with pytest.raises(ValueError, match=f"{message}.*{there}"):
        plan(**fields)


def test_domain_without_days_raises(tiny_data, tmp_path):
    (tiny_data.path / "natural").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="natural holds no days"):
        plan(tiny_data)
