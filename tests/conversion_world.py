"""A small world of two domains for the tests of `convert`."""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ecdctr_tf import store
from ecdctr_tf.input.conversion import converter, toml_spec

FIRST_DAY = 19_723  # 2024-01-01
# Users and items that are numbers: what each conversion spec needs.
USER_AND_ITEM = """
[[tables]]
name = "user"
[[tables]]
name = "item"

[[features]]
name = "user_id"
table = "user"
side = "user"
basic = true
[[features]]
name = "item_id"
table = "item"
side = "item"
basic = true
"""
COLUMNS = ("user_id", "item_id", "device", "price", "time", "click")


def spec(**changes) -> toml_spec.ConversionSpec:
    """Return a spec with every kind of feature."""
    values = {
        "tables": [
            {"name": "user"},
            {"name": "item", "dtype": "string"},
            {"name": "group"},
            {"name": "device", "dtype": "string"},
            {"name": "hour"},
            {"name": "weekday"},
        ],
        "features": [
            {
                "name": "user_id",
                "table": "user",
                "side": "user",
                "basic": True,
            },
            {
                "name": "item_id",
                "table": "item",
                "side": "item",
                "basic": True,
            },
            {
                "name": "group",
                "table": "group",
                "column": "user_id",
                "divide": 2,
                "side": "user",
            },
            {"name": "device", "table": "device"},
            {"name": "hour", "table": "hour", "time": "hour"},
            {"name": "weekday", "table": "weekday", "time": "weekday"},
            {"name": "price", "kind": "dense", "side": "item"},
        ],
        "sequences": [
            {"name": "both", "table": "item", "max_length": 3},
            {
                "name": "same",
                "table": "item",
                "max_length": 2,
                "domain": "same",
            },
        ],
        "counts": [
            {"name": "item_clicks", "of": ["item_id"], "side": "item"},
            {
                "name": "user_impressions",
                "of": ["user_id"],
                "event": "impression",
                "domain": "same",
                "window_days": 1,
            },
            {
                "name": "user_device_clicks",
                "of": ["user_id", "device"],
                "domain": "natural",
            },
        ],
        "ages": [{"name": "item_age"}],
    }
    return toml_spec.from_dict({**values, **changes})


def table(
    seed: int, rows: int = 120, days: int = 3, clicks=True, users: int = 6
) -> pa.Table:
    """Return rows of `days` days in no order; each item has one price."""
    rng = np.random.default_rng(seed)
    item = rng.integers(0, 9, rows)
    values = {
        "user_id": rng.integers(0, users, rows),
        "item_id": np.char.add("i", item.astype(str)),
        "device": np.array(["tv", "pc", "tab"])[rng.integers(0, 3, rows)],
        "price": item / 4,
        "timestamp": FIRST_DAY * 86_400 + rng.integers(0, days * 86_400, rows),
    }
    if clicks:
        values["click"] = rng.integers(0, 2, rows)
    return pa.table(values)


def convert(tmp_path: pathlib.Path, tables, name="data", **options):
    """Return the path of a new data directory."""
    out = tmp_path / name
    converter.convert_tables(
        options.pop("spec", spec()), tables, out, progress=False, **options
    )
    return out


def hashes(directory: pathlib.Path, until="9") -> dict[str, str]:
    """Return the hash of each file, of days before `until`."""
    names = {
        path.relative_to(directory): path
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    return {
        str(name): store.file_hash(path)
        for name, path in names.items()
        if not name.parts[1:] or name.parts[1] < until
    }


def everything(directory: pathlib.Path) -> dict[str, str]:
    """Return the hash of each file there is."""
    return hashes(directory, "~")


def day_of(table: pa.Table) -> np.ndarray:
    """Return the day of each row, 0 for the first."""
    return table["timestamp"].to_numpy() // 86_400 - FIRST_DAY


def of_days(tables, first: int, stop: int) -> list[tuple[str, pa.Table]]:
    """Return the rows of days from `first` up to before `stop`."""
    kept = []
    for domain, rows in tables:
        days = day_of(rows)
        kept.append(
            (domain, rows.filter(pa.array((first <= days) & (days < stop))))
        )
    return kept


def append(out: pathlib.Path, tables, spec_given=None, **options) -> dict:
    """Append days to a data directory; return the summary."""
    return converter.append_tables(
        spec_given or spec(), tables, out, progress=False, **options
    )
