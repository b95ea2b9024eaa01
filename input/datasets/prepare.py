"""Command line: a known data set to a data directory.

```
python -m ecdctr_tf.input.datasets.prepare --dataset=synthetic --out=data
python -m ecdctr_tf.input.datasets.prepare --dataset=synthetic \
    --ads_per_day=500 --seed=7 --out=sparse
python -m ecdctr_tf.input.datasets.prepare --dataset=synthetic \
    --world=seasonal --out=seasons
python -m ecdctr_tf.input.datasets.prepare --dataset=globo \
    --manual_dir=raw/globo --out=data
```

Builder -> days of Arrow tables -> `converter.convert_tables`, by the rules in
the `.toml` file beside this module. The default world takes half a minute on
two cores: 3,645,000 rows, 340 MB.
"""

import argparse
import contextlib
import dataclasses
import io
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds
from absl import logging

from ecdctr_tf import features
from ecdctr_tf.input.conversion import converter, tally, toml_spec
from ecdctr_tf.input.datasets import (
    globo,
    movielens,
    synthetic_two_domain,
    synthetic_world,
    two_domain,
)

BUILDERS = {
    "synthetic": synthetic_two_domain.SyntheticTwoDomain,
    "globo": globo.Globo,
    "movielens": movielens.MovieLens1m,
}
WORLDS = {
    "default": synthetic_world.WorldConfig(),
    "tiny": synthetic_world.TINY,
    "seasonal": synthetic_world.SEASONAL,
}


def prepare(
    dataset: str,
    out: str | pathlib.Path,
    manual_dir: str | pathlib.Path | None = None,
    tfds_dir: str | pathlib.Path | None = None,
    world: synthetic_world.WorldConfig | None = None,
) -> dict:
    """Write the data directory of a data set.

    Args:
      dataset: a key of `BUILDERS`.
      out: the data directory to make; must not exist.
      manual_dir: folder of the raw files; not for "synthetic".
      tfds_dir: keeps the builder's blocks, and reuses those there are; None
        throws them away.
      world: the dials of "synthetic"; None is the default world.

    Returns:
      The summary of the conversion.

    Raises:
      FileExistsError: `out` exists.
      FileNotFoundError: a raw file is missing; the message says how to get it.
      ValueError: there is no such data set.
    """
    if dataset not in BUILDERS:
        raise ValueError(
            f"`dataset` should be one of {', '.join(BUILDERS)}. "
            f"Received: {dataset!r}"
        )
    options = {}
    if dataset == "synthetic" and world is not None:
        if world.keywords:
            # The builder's blocks have no lists.
            rows = synthetic_world.generate(world)
            return converter.convert_tables(keyword_spec(), rows, out)
        options["config"] = synthetic_two_domain.world_builder_config(world)
    with contextlib.ExitStack() as stack:
        if tfds_dir is None:
            tfds_dir = stack.enter_context(tempfile.TemporaryDirectory())
        with _quiet():
            builder = BUILDERS[dataset](data_dir=str(tfds_dir), **options)
            two_domain.prepare(builder, manual_dir)
        return converter.convert_tables(
            spec(dataset), two_domain.tables(builder), out
        )


def spec(dataset: str) -> toml_spec.ConversionSpec:
    """Return the conversion spec of a data set, a key of `BUILDERS`."""
    path = pathlib.Path(__file__).with_name(f"{dataset}.toml")
    return toml_spec.ConversionSpec.load(path)


def keyword_spec() -> toml_spec.ConversionSpec:
    """Return the conversion spec of synthetic worlds with keywords."""
    world = spec("synthetic")
    keywords = toml_spec.Column(
        "keywords",
        "ids",
        "keyword",
        max_length=synthetic_world.KEYWORDS_OF_ROW,
    )
    return dataclasses.replace(
        world,
        tables=(*world.tables, features.TableSpec("keyword")),
        features=(*world.features, keywords),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ecdctr_tf.input.datasets.prepare",
        description="Write a known data set as a data directory.",
    )
    parser.add_argument(
        "--dataset", choices=list(BUILDERS), required=True, help="data set"
    )
    parser.add_argument(
        "--out", required=True, help="data directory to write; must not exist"
    )
    parser.add_argument("--manual_dir", help="directory of the raw files")
    parser.add_argument(
        "--tfds_dir", help="directory to keep the files of the builder in"
    )
    dials = parser.add_argument_group("settings of the synthetic world")
    dials.add_argument(
        "--world",
        choices=list(WORLDS),
        default="default",
        help="world whose settings the following ones change",
    )
    names = [field.name for field in dataclasses.fields(WORLDS["default"])]
    for name in names:
        default = getattr(WORLDS["default"], name)
        dials.add_argument(
            f"--{name}",
            type=type(default),
            help=f"{default} in the default world",
        )
    values = parser.parse_args(arguments)
    given = {name: getattr(values, name) for name in names}
    given = {n: value for n, value in given.items() if value is not None}
    if values.dataset != "synthetic" and (given or values.world != "default"):
        parser.error("only --dataset=synthetic has settings of a world")
    try:
        world = dataclasses.replace(WORLDS[values.world], **given)
        summary = prepare(
            values.dataset,
            values.out,
            values.manual_dir,
            values.tfds_dir,
            world if values.dataset == "synthetic" else None,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"prepare: {error}")
    tally.show(summary)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TFDS's own notes and bars off the terminal."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


if __name__ == "__main__":
    main()
