"""Raw logs of a synthetic world, as a platform would write them."""

import pathlib

import pyarrow as pa
import pyarrow.csv

from ecdctr_tf import features
from ecdctr_tf.input import convert
from ecdctr_tf.input.datasets import synthetic_world

SPEC = "logs.toml"
WORLD = synthetic_world.WorldConfig(
    days=60, ads_days=10, natural_per_day=40_000
)
_LOG = """
[[logs]]
name = "{domain}"
domain = "{domain}"
path = "{domain}.csv"
user = "user_id"
item = "item_id"
click = "click"
time = "timestamp"
"""


def write(
    directory: pathlib.Path, world: synthetic_world.WorldConfig = WORLD
) -> None:
    """Write a CSV file a domain and the conversion spec.

    Args:
      directory: gets `natural.csv`, `ads.csv` and `logs.toml`.
      world: the dials of the world.
    """
    days = {domain: [] for domain in features.DOMAINS}
    for domain, rows in synthetic_world.generate(world):
        days[domain].append(rows)
    spec = pathlib.Path(convert.find_spec("synthetic.toml")).read_text("utf-8")
    for domain, parts in days.items():
        path = directory / f"{domain}.csv"
        pa.csv.write_csv(pa.concat_tables(parts), path)
        spec += _LOG.format(domain=domain)
    (directory / SPEC).write_text(spec, encoding="utf-8")
