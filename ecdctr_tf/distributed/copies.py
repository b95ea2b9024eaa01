"""The copy of a level's model that a strategy trains.

The level keeps its model whole in the memory of the chief. The variables of the
copy lie where the strategy puts them: on each replica, or in shards on
parameter servers. Weights and optimizer state go there when a window begins,
and come back when they are kept or published. So nothing but the steps depends
on the strategy, and checkpoints know nothing of it.
"""

import typing

import numpy as np
import tensorflow as tf

from ecdctr_tf.layers.historical_embedding import HistoricalTable
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.training import fit
from ecdctr_tf.training.level import Level


class Copy:
    """A model under a strategy that has the variables of another one.

    Args:
      strategy: the strategy.
      level: its model is copied: the network, not yet the values.
    """

    def __init__(self, strategy: tf.distribute.Strategy, level: Level):
        """Make the variables."""
        self.strategy = strategy
        self.of = level.model
        with strategy.scope():
            self.model = level.make(
                level.model.embedding.capacities,
                {
                    name: HistoricalTable(**arrays, name=name, fixed=True)
                    for name, arrays in history(level.model).items()
                },
            )
            self._variables = fit.state_variables(self.model)
        self._history = sizes(level.model)
        self._step: tf.types.experimental.GenericFunction | None = None

    def fits(self, model: CTRModel) -> bool:
        """Return whether it is a copy of a model as that is now."""
        return self.of is model and self._history == sizes(model)

    def spread(self) -> None:
        """Take over the values of the model."""
        with self.strategy.scope():
            for name, variable in fit.state_variables(self.of).items():
                self._variables[name].assign(variable.numpy())
            for name, table in self.of.embedding.tables.items():
                copied = self.model.embedding.tables[name]
                copied.vocab_size.assign(table.vocab_size.numpy())
            for name, history in self.of.history_tables.items():
                self.model.history_tables[name].assign(history)
            self.model.loss_metric.reset_states()

    def collect(self) -> None:
        """Give the model the values that there are now."""
        for name, variable in fit.state_variables(self.of).items():
            variable.assign(self._value(self._variables[name]))

    def step(
        self, spec: tuple[dict[str, tf.TensorSpec], tf.TensorSpec]
    ) -> tf.types.experimental.GenericFunction:
        """Return the function that takes a step on a batch.

        Args:
          spec: of a batch.
        """
        if self._step is None:

            @tf.function(input_signature=spec, autograph=False)
            def step(*batch: tf.Tensor) -> None:
                self.strategy.run(self.model.train_step, args=(batch,))

            self._step = step
        return self._step

    def losses(self) -> list[float]:
        """Return the running loss of the replicas here, and forget it."""
        variables = self.model.loss_metric.variables
        found = [
            sum(
                float(part.numpy())
                for part in self.strategy.experimental_local_results(variable)
            )
            for variable in variables
        ]
        with self.strategy.scope():
            self.model.loss_metric.reset_states()
        return found

    def _value(self, variable: typing.Any) -> np.ndarray:
        """Return the value of a variable; replicas have the same."""
        part, *_ = self.strategy.experimental_local_results(variable)
        return tf.convert_to_tensor(part).numpy()


def add_losses(model: CTRModel, losses: list[float]) -> None:
    """Add to the running loss of a model what replicas had of theirs."""
    variables = model.loss_metric.variables
    for variable, value in zip(variables, losses, strict=True):
        variable.assign_add(value)


def history(model: CTRModel) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays that a model's historical tables are made of."""
    return {
        name: {
            "vectors": table.vectors.numpy().reshape(
                table.versions, table.rows, table.dim
            ),
            "present": table.present.numpy().reshape(
                table.versions, table.rows
            ),
            "visible_from": table.visible_from.numpy(),
        }
        for name, table in model.history_tables.items()
    }


def sizes(model: CTRModel) -> dict[str, tuple[int, int]]:
    """Return versions and rows of a model's historical tables."""
    return {
        name: (table.versions, table.rows)
        for name, table in model.history_tables.items()
    }
