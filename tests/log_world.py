"""Small logs in files, for the tests of what columns of logs may hold."""

import datetime
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ecdctr_tf.input import convert, data_directory, streams
from ecdctr_tf.input.conversion import toml_spec

DAY = 86_400
FIRST_DAY = 19_723  # 2024-01-01
FIRST = FIRST_DAY * DAY


def second(text: str) -> int:
    """Return the second of `YYYY-MM-DD HH:MM:SS` UTC."""
    moment = datetime.datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=datetime.UTC).timestamp())


def spec(*logs: dict, features=(), dtype="int64", **changes):
    """Return a spec; logs say only what is not as in most of them.

    Args:
      *logs: `path` and what differs; none: one of natural.parquet.
      features: further features; each gets a table of its own if it needs one.
      dtype: of users and items.
      **changes: other fields of the spec.
    """
    usual = {
        "domain": "natural",
        "user": "user_id",
        "item": "item_id",
        "time": "time",
        "click": "click",
    }
    own = [f for f in features if f.get("kind", "id") == "id"]
    ids = [{"name": name, "dtype": dtype} for name in ("user", "item")]
    values = {
        "tables": ids
        + [
            {"name": f["name"] + "s", "dtype": f.get("dtype", "string")}
            for f in own
            if "table" not in f
        ],
        "features": [
            {
                "name": f"{side}_id",
                "table": side,
                "side": side,
                "basic": True,
            }
            for side in ("user", "item")
        ]
        + [
            {
                **({"table": f["name"] + "s"} if f in own else {}),
                **{key: f[key] for key in f if key != "dtype"},
            }
            for f in features
        ],
        "logs": [
            {**usual, **log} for log in logs or [{"path": "natural.parquet"}]
        ],
    }
    return toml_spec.from_dict({**values, **changes})


def write(path: pathlib.Path, rows: int = 3, **columns) -> None:
    """Write a Parquet or CSV file; columns that are not given are usual."""
    usual = {
        "user_id": list(range(1, rows + 1)),
        "item_id": list(range(11, rows + 11)),
        "time": [FIRST + i for i in range(rows)],
        "click": [1, 0] * (rows // 2) + [1] * (rows % 2),
    }
    values = {**usual, **columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table = pa.table({n: v for n, v in values.items() if v is not None})
        pa.parquet.write_table(table, path)
        return
    kept = {
        name: v.to_pylist() if isinstance(v, pa.Array) else v
        for name, v in values.items()
        if v is not None
    }
    lines = [",".join(kept)]
    lines += [
        ",".join("" if v is None else str(v) for v in row)
        for row in zip(*kept.values(), strict=True)
    ]
    path.write_text("\n".join([*lines, ""]))


def convert_logs(source, given, append=False, out="data") -> dict:
    """Convert the logs of a folder; return the summary."""
    return convert.convert_logs(
        given, source, source / out, append=append, progress=False
    )


def rows(source, domain="natural", out="data") -> dict[str, list]:
    """Return the columns of all rows of a domain, ids as they were raw.

    Unknown ids are None, sequences lists of their entries.
    """
    data = data_directory.DataDirectory(source / out)
    columns = streams.read_columns(data, domain, data.window(domain))
    found = {name: values.tolist() for name, values in columns.items()}
    for feature in data.spec.features:
        if feature.table:
            space = data.id_spaces[feature.table]
            values = found[feature.name]
            found[feature.name] = [_raw(space, value) for value in values]
    return found


def days(source, domain="natural", out="data") -> list[str]:
    """Return the days of a domain."""
    return data_directory.DataDirectory(source / out).days(domain)


def _raw(space, value):
    if isinstance(value, list):
        return [_raw(space, entry) for entry in value if entry >= 0]
    place = value - space.table.buckets
    return None if place < 0 else np.asarray(space.ids)[place]
