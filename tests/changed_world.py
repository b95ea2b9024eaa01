"""The small world, the features of which change on a day."""

import pathlib
import shutil

import numpy as np

from ecdctr_tf import features, windows
from ecdctr_tf.input import (
    data_directory,
    former_specs,
    id_space,
    streams,
)
from tests import training_world

BRANDS = 5
ADDED = (
    features.FeatureSpec("brand", "id", "brand", "item"),
    features.FeatureSpec("size", "dense", side="item"),
    features.FeatureSpec("look", "vector", length=2),
    features.FeatureSpec(
        "tags", "ids", "brand", "item", max_length=2, pooling="attention"
    ),
    features.FeatureSpec("recent", "sequence", "item", "user", max_length=2),
)


def spec(added=ADDED, removed=()) -> features.DataSpec:
    """Return the spec of the small world with other features."""
    old = training_world.SMALL_SPEC
    tables = {f.table for f in added} - {"", *(t.name for t in old.tables)}
    kept = tuple(f for f in old.features if f.name not in removed)
    return features.DataSpec(
        tables=(*map(features.TableSpec, sorted(tables)), *old.tables),
        # Before the others: every input has another place.
        features=(*added, *kept),
    )


def change(
    before: data_directory.DataDirectory,
    path: pathlib.Path,
    given: features.DataSpec,
    since: dict[str, str],
) -> data_directory.DataDirectory:
    """Write the days of a directory, from some on with another spec.

    Args:
      before: the directory as it is without the change.
      path: the new directory.
      given: the spec of the later days.
      since: domain -> its first day of that spec.
    """
    shutil.copytree(before.path, path)
    for domain, first in since.items():
        for day in before.days(domain):
            if day >= first:
                shutil.rmtree(path / domain / day)
    until = {domain: windows.plus(day, -1) for domain, day in since.items()}
    former = [former_specs.Former(before.spec, until)]
    former_specs.save(path, [*before.former, *former])
    given.save(path / data_directory.SPEC)
    for table in given.tables:
        if table not in before.spec.tables:
            space = id_space.new(table)
            space.append(np.arange(BRANDS))
            space.save(path / "ids")
    data = data_directory.DataDirectory(path)
    for domain, first in since.items():
        for day in before.days(domain):
            if day >= first:
                _write(before, data, domain, day)
    return data


def _write(before, data, domain, day):
    window = windows.Window(day, day)
    rows = streams.read_columns(before, domain, window)
    count = len(rows["click"])
    random = np.random.default_rng([windows.day_number(day), len(domain), 7])
    brand = random.integers(1, BRANDS + 1, [count, 2]).astype(np.int32)
    brand[:, 0] = 1 + rows["click"] + random.integers(0, 2, count)
    rows |= {
        "brand": brand[:, 0],
        "size": random.random(count).astype(np.float32),
        "look": random.random([count, 2]).astype(np.float32),
        "tags": brand,
        "recent": random.integers(1, 9, [count, 2]).astype(np.int32),
        # Another price, where it has become an id.
        "rating": brand[:, 1],
    }
    if "price" in {f.name for f in data.spec.features if f.kind == "id"}:
        rows["price"] = brand[:, 0]
    known = before.manifest(domain, day).ids
    used = {t.name: BRANDS + 1 for t in data.spec.tables}
    used |= {name: int(entry["rows"]) for name, entry in known.items()}
    data.write_day(domain, day, [rows], used)
