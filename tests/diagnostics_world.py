"""Made-up data directories of two domains, for the tests of the diagnostics."""

import numpy as np

from ecdctr_tf import features, windows
from ecdctr_tf.input import data_directory, id_space

SPEC = features.DataSpec(
    tables=(features.TableSpec("user"), features.TableSpec("item")),
    features=(
        features.FeatureSpec("user_id", "id", "user", "user", basic=True),
        features.FeatureSpec("item_id", "id", "item", "item", basic=True),
        features.FeatureSpec("clicked", "sequence", "item", max_length=3),
        features.FeatureSpec("price", "dense"),
    ),
)
USERS, ITEMS = 60, 40
NATURAL_DAYS = [f"2024-01-{day:02d}" for day in range(1, 9)]
ADS_DAYS = [f"2024-01-{day:02d}" for day in range(3, 10)]


def columns(day: str, users, items, rng, count: int, price: float = 0.0):
    """Return rows with users and items of a range; items 1, 2, .. click more.

    Args:
      day: of the timestamps.
      users: first and one past the last row number of users.
      items: the same of items.
      rng: draws everything.
      count: rows.
      price: mean of the dense feature.
    """
    item = rng.integers(*items, count).astype(np.int32)
    clicked = np.full([count, 3], features.PADDING, np.int32)
    return {
        "user_id": rng.integers(*users, count).astype(np.int32),
        "item_id": item,
        "clicked": clicked,
        "price": rng.normal(price, 1, count).astype(np.float32),
        "click": (rng.random(count) < 0.9 - item / 50).astype(np.float32),
        "timestamp": windows.day_number(day) * 86_400 + np.arange(count),
    }


def make(path, natural, ads, counts=(300, 200), days=None):
    """Write a data directory.

    Args:
      path: the directory.
      natural: `users`, `items` and `price` of `columns`, for natural rows.
      ads: the same for ads.
      counts: natural rows and ad rows a day.
      days: natural days and ad days.
    """
    path.mkdir(parents=True)
    SPEC.save(path / data_directory.SPEC)
    sizes = {"user": USERS, "item": ITEMS}
    for table in SPEC.tables:
        space = id_space.new(table)
        space.append(np.arange(1, sizes[table.name] + 1))
        space.save(path / "ids")
    data = data_directory.DataDirectory(path)
    rng = np.random.default_rng(5)
    days = days or (NATURAL_DAYS, ADS_DAYS)
    for domain, names, made, count in zip(
        features.DOMAINS, days, (natural, ads), counts, strict=True
    ):
        for day in names:
            rows = columns(day, rng=rng, count=count, **made)
            table_rows = {name: size + 1 for name, size in sizes.items()}
            data.write_day(domain, day, [rows], table_rows)
    return data


# Rows of all ids; of the first half; of the second half.
ALL = {"users": (1, USERS + 1), "items": (1, ITEMS + 1)}
FIRST = {"users": (1, 31), "items": (1, 21)}
SECOND = {"users": (31, USERS + 1), "items": (21, ITEMS + 1)}
