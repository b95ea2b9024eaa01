"""Adam that touches only the rows of a batch."""

import tensorflow as tf
import tf_keras as keras


class LazyAdam(keras.optimizers.Optimizer):
    """Adam whose moments of a table's row change only when the row is used.

    `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g²`,
    `w -= lr m sqrt(1 - b2^t) / (1 - b1^t) / (sqrt(v) + epsilon)`, for the
    rows of the batch; t counts steps. Duplicates of a row in a batch are summed
    first. Dense gradients get plain Adam. State: two floats a weight.

    Args:
      learning_rate: a number or a schedule.
      beta_1: decay b1 of the first moment, [0, 1).
      beta_2: decay b2 of the second moment, [0, 1).
      epsilon: guards the division.

    Reference: Adam (arXiv 1412.6980), the form without epsilon-hat.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "LazyAdam",
        **kwargs,
    ):
        """Keep the hyper-parameters."""
        # Any weight decay but None, 0 too, goes over the whole table each step.
        defaults = {"jit_compile": False, "weight_decay": None}
        super().__init__(name=name, **{**defaults, **kwargs})
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, var_list):
        """Make the two moments of each variable."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        self._moments = [
            (
                self.add_variable_from_reference(var, "m"),
                self.add_variable_from_reference(var, "v"),
            )
            for var in var_list
        ]

    def update_step(self, gradient, variable):
        """Update a variable from its dense or sparse gradient."""
        m, v = self._moments[self._index_dict[self._var_key(variable)]]
        step = tf.cast(self.iterations + 1, variable.dtype)
        rate = tf.cast(self.learning_rate, variable.dtype)
        correction = tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        rate = rate * correction
        if isinstance(gradient, tf.IndexedSlices):
            rows, g = gradient.indices, gradient.values
            new_m = self.beta_1 * tf.gather(m, rows) + (1 - self.beta_1) * g
            new_v = self.beta_2 * tf.gather(v, rows)
            new_v += (1 - self.beta_2) * tf.square(g)
            m.scatter_update(tf.IndexedSlices(new_m, rows))
            v.scatter_update(tf.IndexedSlices(new_v, rows))
            delta = rate * new_m / (tf.sqrt(new_v) + self.epsilon)
            variable.scatter_sub(tf.IndexedSlices(delta, rows))
            return
        m.assign_add((1 - self.beta_1) * (gradient - m))
        v.assign_add((1 - self.beta_2) * (tf.square(gradient) - v))
        variable.assign_sub(rate * m / (tf.sqrt(v) + self.epsilon))

    def get_config(self):
        """Return the hyper-parameters."""
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter(
                self._learning_rate
            ),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
