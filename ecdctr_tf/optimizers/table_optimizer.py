"""What optimizers of embedding tables have in common.

Shapes: V rows of a table, D width, N lookups of a batch, R distinct rows.
"""

import typing
from collections.abc import Iterable, Sequence

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.kernels import row_updates

# A number or a schedule.
LearningRate: typing.TypeAlias = (
    float | keras.optimizers.schedules.LearningRateSchedule
)


class TableOptimizer(keras.optimizers.Optimizer):
    """Optimizer whose step costs the rows of a batch, not those of a table.

    Gradients of equal rows are summed first. Clipping sees these sums; weight
    decay reaches the rows of the batch only, each time that they are used.

    A subclass gives the rule (`new_values`), the state a variable has
    (`make_state`) and, for the compiled updates, their name and settings.

    Args:
      learning_rate: a number or a schedule.
      name: of the optimizer.
      **kwargs: `weight_decay`, `clipnorm` and what else Keras' optimizers take.
    """

    # Name of the op in `row_updates.cc`.
    compiled: str

    def __init__(
        self, learning_rate: LearningRate, name: str, **kwargs: typing.Any
    ):
        """Keep the learning rate."""
        super().__init__(name=name, **{"jit_compile": False, **kwargs})
        self._learning_rate = self._build_learning_rate(learning_rate)

    def make_state(self, variable: tf.Variable) -> list[tf.Variable]:
        """Make the state of a variable: first axis V, as the variable's."""
        raise NotImplementedError

    def settings(self) -> list[typing.Any]:
        """Return learning rate and constants of this step, float scalars."""
        raise NotImplementedError

    def new_values(
        self,
        weights: tf.Tensor,
        gradient: tf.Tensor,
        state: list[tf.Tensor],
        settings: list[typing.Any],
    ) -> list[typing.Any]:
        """Return new weights and state, `[weights, *state]`.

        Args:
          weights: float `[R, D]` rows, or a whole variable of any shape.
          gradient: of the shape of `weights`.
          state: values of what `make_state` made, for the same rows.
          settings: what `settings` returned, in the type of `weights`.
        """
        raise NotImplementedError

    def build(self, var_list: list[tf.Variable]) -> None:
        """Make the state of each variable."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        # Keras tracks these variables already, the shards of a table as one.
        self._states = self._no_dependency(
            [self.make_state(variable) for variable in var_list]
        )

    def aggregate_gradients(
        self, grads_and_vars: list[tuple[typing.Any, tf.Variable]]
    ) -> list[tuple[typing.Any, tf.Variable]]:
        """Sum the gradients of all replicas; there is one without a strategy.

        Keras' sum registers a gradient of its own, and TensorFlow keeps those
        for the life of the process: each traced step would keep its graph, and
        with it all variables of its model.
        """
        if not tf.distribute.has_strategy():
            return grads_and_vars
        return super().aggregate_gradients(grads_and_vars)

    def _internal_apply_gradients(
        self, grads_and_vars: Iterable[tuple[typing.Any, tf.Variable]]
    ) -> tf.Tensor:
        """Update all tables that can be by one compiled op, others by Keras."""
        compiled: list[tuple[tf.IndexedSlices, tf.Variable]] = []
        others: list[tuple[tf.Tensor, tf.Variable]] = []
        for gradient, variable in grads_and_vars:
            sparse = isinstance(gradient, tf.IndexedSlices)
            use = sparse and not self.use_ema and row_updates.usable(variable)
            (compiled if use else others).append((gradient, variable))
        if compiled:
            self._update_compiled(*zip(*compiled, strict=True))
        return super()._internal_apply_gradients(others)

    def _update_compiled(
        self,
        gradients: Iterable[tf.IndexedSlices],
        variables: Sequence[tf.Variable],
    ) -> None:
        """Update tables by one op."""
        update = getattr(row_updates.load(), self.compiled)
        states = [s for v in variables for s in self.state_of(v)]
        update(
            [v.handle for v in variables],
            [s.handle for s in states],
            [tf.cast(g.indices, tf.int32) for g in gradients],
            [g.values for g in gradients],
            tf.stack([tf.cast(s, tf.float32) for s in self.settings()]),
            tf.stack([self._decay(v) for v in variables]),
        )

    def update_step(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable
    ) -> None:
        """Update a variable from its dense or sparse gradient."""
        state = self.state_of(variable)
        settings = [tf.cast(s, variable.dtype) for s in self.settings()]
        decay = self._decay(variable)
        if not isinstance(gradient, tf.IndexedSlices):
            if self.weight_decay:
                variable.assign_sub(decay * variable)
            self.update_dense(gradient, variable, state, settings)
            return
        rows, summed = _sum_by_row(gradient)
        weights = tf.gather(variable, rows)
        old = [tf.gather(s, rows) for s in state]
        weights -= decay * weights
        new = self.new_values(weights, summed, old, settings)
        for target, value in zip((variable, *state), new, strict=True):
            target.scatter_update(tf.IndexedSlices(value, rows))

    def state_of(self, variable: tf.Variable) -> list[tf.Variable]:
        """Return what `make_state` made for a variable."""
        return self._states[self._index_dict[self._var_key(variable)]]

    def update_dense(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        state: list[tf.Variable],
        settings: list[typing.Any],
    ) -> None:
        """Update a whole variable from its dense gradient."""
        new = self.new_values(variable, gradient, state, settings)
        for target, value in zip((variable, *state), new, strict=True):
            target.assign(value)

    def _decay(self, variable: tf.Variable) -> tf.Tensor:
        """Return the share of the weights that decays in a step."""
        if not self.weight_decay or not self._use_weight_decay(variable):
            return tf.zeros([], variable.dtype)
        return tf.cast(self.learning_rate * self.weight_decay, variable.dtype)

    def _apply_weight_decay(self, variables: Iterable[tf.Variable]) -> None:
        """Keras would go over whole tables; `update_step` does it by row."""

    def _clip_gradients(self, grads: list[typing.Any]) -> list[typing.Any]:
        if self.clipnorm or self.global_clipnorm or self.clipvalue:
            grads = super()._deduplicate_sparse_grad(grads)
        return super()._clip_gradients(grads)

    def _deduplicate_sparse_grad(
        self, grads: list[typing.Any]
    ) -> list[typing.Any]:
        """Keras would do it here; `update_step` does."""
        return grads

    def get_config(self) -> dict[str, typing.Any]:
        """Return the hyper-parameters."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate}


def _sum_by_row(gradient: tf.IndexedSlices) -> tuple[tf.Tensor, tf.Tensor]:
    """Return distinct rows `[R]` and the sums of their gradients `[R, D]`."""
    rows, places = tf.unique(gradient.indices)
    count = tf.size(rows)
    return rows, tf.math.unsorted_segment_sum(gradient.values, places, count)
