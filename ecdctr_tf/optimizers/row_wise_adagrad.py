"""Exact row-wise Adagrad: one accumulator a row."""

import tensorflow as tf
import tf_keras as keras


class RowWiseAdagrad(keras.optimizers.Optimizer):
    """Adagrad that shares one accumulator among the weights of a row.

    `a = a + mean_d(g_d²)`, `w -= lr g / (sqrt(a) + epsilon)`, for the rows of
    the batch; duplicates of a row in a batch are summed first. State: one
    float a row. A variable of rank below 2 has one accumulator a weight.

    Args:
      learning_rate: a number or a schedule.
      initial_accumulator: first value of a, at least 0.
      epsilon: guards the division.

    Reference: Software-Hardware Co-design for Fast and Scalable Training of
    Deep Learning Recommendation Models (arXiv 2104.05158), section 4.1.4.
    """

    def __init__(
        self,
        learning_rate=1e-2,
        initial_accumulator: float = 0.0,
        epsilon: float = 1e-8,
        name: str = "RowWiseAdagrad",
        **kwargs,
    ):
        """Keep the hyper-parameters."""
        # Any weight decay but None, 0 too, goes over the whole table each step.
        defaults = {"jit_compile": False, "weight_decay": None}
        super().__init__(name=name, **{**defaults, **kwargs})
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.initial_accumulator = initial_accumulator
        self.epsilon = epsilon

    def build(self, var_list):
        """Make the accumulator of each variable."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        self._accumulators = [
            self.add_variable_from_reference(
                var,
                "accumulator",
                initial_value=tf.fill(
                    var.shape[:1],
                    tf.cast(self.initial_accumulator, var.dtype),
                ),
            )
            for var in var_list
        ]

    def update_step(self, gradient, variable):
        """Update a variable from its dense or sparse gradient."""
        a = self._accumulators[self._index_dict[self._var_key(variable)]]
        rate = tf.cast(self.learning_rate, variable.dtype)
        if isinstance(gradient, tf.IndexedSlices):
            rows, g = gradient.indices, gradient.values
            new_a = tf.gather(a, rows) + _row_mean(tf.square(g))
            a.scatter_update(tf.IndexedSlices(new_a, rows))
            delta = rate * g / (_spread(tf.sqrt(new_a), g) + self.epsilon)
            variable.scatter_sub(tf.IndexedSlices(delta, rows))
            return
        a.assign_add(_row_mean(tf.square(gradient)))
        scale = _spread(tf.sqrt(a), gradient) + self.epsilon
        variable.assign_sub(rate * gradient / scale)

    def get_config(self):
        """Return the hyper-parameters."""
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter(
                self._learning_rate
            ),
            "initial_accumulator": self.initial_accumulator,
            "epsilon": self.epsilon,
        }


def _row_mean(squares: tf.Tensor) -> tf.Tensor:
    """Return the mean over all axes but the first, `[V]`."""
    if squares.shape.rank < 2:
        return squares
    return tf.reduce_mean(squares, axis=list(range(1, squares.shape.rank)))


def _spread(per_row: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Return `[V]` with as many axes as `like` has, for broadcasting."""
    if like.shape.rank < 2:
        return per_row
    return tf.reshape(per_row, [-1] + [1] * (like.shape.rank - 1))
