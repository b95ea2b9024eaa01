"""Weights of artefacts from before features were added, removed or retyped.

An artefact of a former data spec is read as if its features had changed right
after it: what both specs share keeps its weights and the state of its
optimizers, what was removed is gone, and what was added is there as a level
starts it. No weight reads an added feature yet (the rows of the dense kernels
are 0), so it changes no score before it is learned.

The start of an added feature depends on its name and the seed only. So it is
the same in every artefact that is read so, and what a CPM learned of the
feature is the difference from it.
"""

import dataclasses
import math
import pathlib
import zlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ecdctr_tf import artefacts, features, kinds, model_table
from ecdctr_tf import config as configs
from ecdctr_tf.input import former_specs
from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.layers.scaled_numbers import ScaledNumbers
from ecdctr_tf.models.ctr_model import Column, CTRModel
from ecdctr_tf.training import fit
from ecdctr_tf.transfer import checkpoint

# In the places of inputs that are added, weights hold this; others hold 0.
_ONES = ("gamma", "moving_variance")


@dataclasses.dataclass(frozen=True)
class _Axis:
    """An axis of a weight whose places are inputs of the network."""

    number: int
    # Places before the first input.
    offset: int
    # Whether the inputs that are scaled already are among them.
    scaled: bool = True


class Carrier:
    """Reads the artefacts of one former spec as those of the spec of now.

    Args:
      written: the data spec of the artefacts.
      spec: that of the model.
      config: the config of the model.
      row: the model.
      kind: "snapshot", "cpm" or "ctr".
      history: table name -> historical vectors that the model reads.

    Raises:
      ValueError: the model has other layers that read all inputs than those
        of `CTRModel`, or learns how to combine snapshots and its basic features
        have changed.
    """

    def __init__(
        self,
        written: features.DataSpec,
        spec: features.DataSpec,
        config: configs.Config,
        row: model_table.ModelRow,
        kind: str,
        history: Mapping[str, HistoricalTable],
    ):
        """Build both models, with tables of no size."""
        network, _ = artefacts.stage(config, kind)
        own_layers = artefacts.network(row, kind) is not CTRModel
        if own_layers or not network.hidden_units:
            raise ValueError(
                f"The features have changed "
                f"({former_specs.changes(written, spec).text()}), over which "
                f"{row.name} cannot go on: its network has layers of its own, "
                "or no hidden layer. Train it in another --workdir."
            )
        self._seed = config.seed
        self._before, self._after = (
            _skeleton(s, config, row, kind, history) for s in (written, spec)
        )
        # Layer of a single feature -> the feature.
        self._owners = {
            layer: feature.name
            for feature in kinds.of(self._after.spec)
            for layer in feature.layers(network)
        }
        # Inputs that are normalised, and those that are scaled: before and now.
        self._columns = self._before.columns(), self._after.columns()
        self._kept = kinds.unchanged(self._before.spec, self._after.spec)
        self._start()
        self._check_history()

    def weights(self, path: pathlib.Path) -> dict[str, np.ndarray]:
        """Return the weights of an artefact, by their path in the model.

        Tables that are new have a few rows only.
        """
        values = checkpoint.read(path / artefacts.WEIGHTS)
        return self._carried(values, {}, artefacts.weights(self._after))

    def optimizers(self, path: pathlib.Path, model: CTRModel) -> dict:
        """Return the state of an artefact's optimizers, by name.

        Args:
          path: the artefact.
          model: a compiled model of the spec of now, whose names are used.
        """
        values = checkpoint.read(path / artefacts.OPTIMIZER)
        for skeleton in (self._before, self._after):
            if not skeleton.optimizer:
                copies = [
                    type(o).from_config(o.get_config())
                    for o in (model.optimizer, model.table_optimizer)
                ]
                skeleton.compile(*copies)
        before, after = (_owners(m) for m in (self._before, self._after))
        named = {owner: values[name] for name, owner in before.items()}
        of_weights = {owner: owner.rpartition("/")[0] for owner in named}
        start = fit.optimizer_state(self._after)
        start = {owner: start[name] for name, owner in after.items()}
        carried = self._carried(named, of_weights, start)
        return {name: carried[owner] for name, owner in after.items()}

    def _carried(
        self,
        values: Mapping[str, np.ndarray],
        of_weights: Mapping[str, str],
        start: Mapping[str, tf.Variable],
    ) -> dict[str, np.ndarray]:
        """Return values at their places in the model of now.

        Args:
          values: of the former model, by name.
          of_weights: name -> the path of the weight that the value is of,
            where it is called otherwise.
          start: what the model of now has and how it starts, by name.
        """
        found = {name: variable.numpy() for name, variable in start.items()}
        for name in found.keys() & values.keys():
            weight = of_weights.get(name, name)
            if not self._is_kept(weight):
                continue
            value = values[name]
            for axis in _axes(self._after, weight):
                value = self._moved(value, axis, name, weight)
            found[name] = value
        return found

    def _is_kept(self, weight: str) -> bool:
        """Return whether a weight means the same in both models."""
        room, _, name = weight.partition("/")
        if room != "feature_layers":
            return True
        return self._owners[name.partition("/")[0]] in self._kept

    def _moved(
        self, value: np.ndarray, axis: _Axis, name: str, weight: str
    ) -> np.ndarray:
        """Return a value with its inputs at the places they have now."""
        before, after = (_places(columns, axis) for columns in self._columns)
        one = name == weight and weight.split("/")[-1] in _ONES
        shape = list(value.shape)
        sizes = [sum(c.width for c, _ in found) for found in (before, after)]
        shape[axis.number] += sizes[1] - sizes[0]
        moved = np.full(shape, 1 if one else 0, value.dtype)
        moved, value = (np.moveaxis(v, axis.number, 0) for v in (moved, value))
        moved[: axis.offset] = value[: axis.offset]
        old = {column.name: (column, place) for column, place in before}
        for column, place in after:
            if column.name in old and self._kept.issuperset(column.of):
                _, was = old[column.name]
                rows = slice(place, place + column.width)
                moved[rows] = value[was : was + column.width]
        return np.moveaxis(moved, 0, axis.number)

    def _start(self) -> None:
        """Let what is added start as its name and the seed say."""
        for name, variable in artefacts.weights(self._after).items():
            room = name.partition("/")[0]
            if room != "feature_layers" or self._is_kept(name):
                continue
            value = variable.numpy()
            if value.ndim == 2 and (value != value.flat[0]).any():
                random = np.random.default_rng(
                    [self._seed, zlib.crc32(name.encode())]
                )
                limit = math.sqrt(6 / sum(value.shape))
                value = random.uniform(-limit, limit, value.shape)
                variable.assign(value)
        for name, layer in self._after.feature_layers.items():
            if isinstance(layer, ScaledNumbers):
                if self._owners[name] not in self._kept:
                    layer.open()

    def _check_history(self) -> None:
        """Raise a ValueError if learned layers of history would be lost."""
        before, after = (
            {n for n in artefacts.weights(m) if n.startswith("historical/")}
            for m in (self._before, self._after)
        )
        if before != after:
            raise ValueError(
                "The basic features have changed, over which a model that "
                "learns how to combine snapshots (history.aggregation) cannot "
                "go on. Train it in another --workdir."
            )


def _skeleton(
    spec: features.DataSpec,
    config: configs.Config,
    row: model_table.ModelRow,
    kind: str,
    history: Mapping[str, HistoricalTable],
) -> CTRModel:
    """Return a model of a spec whose tables know no ids."""
    rows = {table.name: table.buckets for table in spec.tables}
    read = artefacts.model_spec(spec, config, kind)
    history = artefacts.history_for(read, history)
    return artefacts.build(spec, config, row, kind, rows, None, history)


def _owners(model: CTRModel) -> dict[str, str]:
    """Return what the state of optimizers is of: name -> `<weight>/<place>`.

    What is of no weight, such as the number of steps, is its own owner.
    """
    paths = {v.ref(): name for name, v in artefacts.weights(model).items()}
    of_state = {}
    for optimizer, weights in zip(
        (model.optimizer, model.table_optimizer),
        model.split_variables(),
        strict=True,
    ):
        optimizer.build(weights)
        for weight in weights:
            for i, state in enumerate(optimizer.state_of(weight)):
                of_state[state.ref()] = f"{paths[weight.ref()]}/{i}"
    return {
        name: of_state.get(variable.ref(), name)
        for name, variable in fit.optimizer_state(model).items()
    }


def _axes(model: CTRModel, weight: str) -> list[_Axis]:
    """Return the axes of a weight whose places are inputs of the network."""
    if weight.startswith("more_heads/"):
        weight = weight.split("/", 2)[2]
    layer, *rest = weight.split("/")
    if layer == "input_norm":
        return [_Axis(0, 0, scaled=False)]
    if layer == "cross":
        square = rest[-1] == "kernel"
        return [_Axis(0, 0), _Axis(1, 0)] if square else [_Axis(0, 0)]
    if (layer, *rest) == ("mlp", "dense", "0", "kernel"):
        return [_Axis(0, 0)]
    if weight == "head/kernel" and model.cross:
        return [_Axis(0, model.mlp.hidden_units[-1])]
    return []


def _places(
    columns: tuple[list[Column], list[Column]], axis: _Axis
) -> list[tuple[Column, int]]:
    """Return the inputs on an axis, each with its first place."""
    normalised, scaled = columns
    found, place = [], axis.offset
    for column in [*normalised, *(scaled if axis.scaled else [])]:
        found.append((column, place))
        place += column.width
    return found
