"""TFDS builder of the synthetic world of two domains."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import tensorflow_datasets as tfds

from ecdctr_tf import windows
from ecdctr_tf.input.datasets import synthetic_world, two_domain


@dataclasses.dataclass(eq=False)
class WorldBuilderConfig(tfds.core.BuilderConfig):
    """A world as a TFDS config; `world_builder_config` makes one."""

    world: synthetic_world.WorldConfig = synthetic_world.WorldConfig()


def world_builder_config(
    world: synthetic_world.WorldConfig,
) -> WorldBuilderConfig:
    """Return the TFDS config of any world, under a name of its own.

    Args:
      world: the dials.
    """
    for known in SyntheticTwoDomain.BUILDER_CONFIGS:
        if known.world == world:
            return known
    text = json.dumps(dataclasses.asdict(world), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return WorldBuilderConfig(name=f"world_{digest}", world=world)


class SyntheticTwoDomain(two_domain.TwoDomainBuilder):
    """The rows of `synthetic_world.generate`; see there for the columns."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The world that the reference figures are of."}
    BUILDER_CONFIGS = [
        WorldBuilderConfig(
            name="default",
            description="180 days of 20,000 rows; 30 days of 1,500 ads rows.",
        ),
        WorldBuilderConfig(
            name="tiny",
            description="12 days of 400 rows; 5 days of 80 ads rows.",
            world=synthetic_world.TINY,
        ),
        WorldBuilderConfig(
            name="seasonal",
            description="240 days of 8,000 rows; 120 days of 1,000 ads rows; "
            "interests come back every 60 days.",
            world=synthetic_world.SEASONAL,
        ),
    ]
    ABOUT = (
        "Impressions and clicks of natural content and ads in a synthetic "
        "world. One example is a block of rows of one day."
    )
    COLUMNS = {
        "user_id": np.int64,
        "item_id": np.int64,
        "category": np.int64,
        "timestamp": np.int64,
        "click": np.uint8,
        "true_ctr": np.float32,
    }

    def day_rows(
        self, domain: str, folder: pathlib.Path
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield `(day, rows)` in order of days."""
        del folder  # Nothing is read.
        config = self.builder_config.world
        world = synthetic_world.World(config)
        first = windows.day_number(config.start)
        for day in range(config.days):
            yield first + day, world.rows(domain, day)
