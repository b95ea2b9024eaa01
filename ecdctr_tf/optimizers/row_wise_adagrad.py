"""Exact row-wise Adagrad: one accumulator a row."""

import typing

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.optimizers.table_optimizer import LearningRate, TableOptimizer


@keras.saving.register_keras_serializable("ecdctr_tf")
class RowWiseAdagrad(TableOptimizer):
    """Adagrad that shares one accumulator among the weights of a row.

    `a = a + mean_d(g_d²)`, `w -= lr g / (sqrt(a) + epsilon)`, for the rows of
    the batch. State: one float a row. A variable of rank below 2 has one
    accumulator a weight.

    Args:
      learning_rate: a number or a schedule.
      initial_accumulator: first value of a, at least 0.
      epsilon: guards the division.
      name: of the optimizer.
      **kwargs: see `TableOptimizer`.

    Reference: Software-Hardware Co-design for Fast and Scalable Training of
    Deep Learning Recommendation Models (arXiv 2104.05158), section 4.1.4.

    Example:
      >>> table = tf.Variable(tf.ones([3, 2]))
      >>> optimizer = ecdctr_tf.RowWiseAdagrad(learning_rate=0.5)
      >>> with tf.GradientTape() as tape:
      ...     loss = tf.reduce_sum(tf.gather(table, [1]))
      >>> gradients = tape.gradient(loss, [table])
      >>> _ = optimizer.apply_gradients(zip(gradients, [table]))
      >>> table.numpy().tolist()
      [[1.0, 1.0], [0.5, 0.5], [1.0, 1.0]]

      Or, as any optimizer of Keras:

      >>> model = keras.Sequential([keras.layers.Dense(1)])
      >>> model.compile(ecdctr_tf.RowWiseAdagrad(0.1), loss="mse")
      >>> _ = model.fit(np.ones([4, 2]), np.ones(4), verbose=0)
    """

    compiled = "ecdctr_row_wise_adagrad"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-2,
        initial_accumulator: float = 0.0,
        epsilon: float = 1e-8,
        name: str = "RowWiseAdagrad",
        **kwargs: typing.Any,
    ):
        """Keep the hyper-parameters."""
        super().__init__(learning_rate, name, **kwargs)
        self.initial_accumulator = initial_accumulator
        self.epsilon = epsilon

    def make_state(self, variable: tf.Variable) -> list[tf.Variable]:
        """Make the accumulator, `[V]`."""
        initial = tf.cast(self.initial_accumulator, variable.dtype)
        return [
            self.add_variable_from_reference(
                variable,
                "accumulator",
                initial_value=tf.fill(variable.shape[:1], initial),
            )
        ]

    def settings(self) -> list[typing.Any]:
        """Return learning rate and epsilon."""
        return [tf.cast(self.learning_rate, tf.float32), self.epsilon]

    def new_values(
        self,
        weights: tf.Tensor,
        gradient: tf.Tensor,
        state: list[tf.Tensor],
        settings: list[typing.Any],
    ) -> list[tf.Tensor]:
        """Return new weights and accumulator."""
        rate, epsilon = settings
        axes = list(range(1, gradient.shape.rank))
        a = state[0] + tf.reduce_mean(tf.square(gradient), axes)
        shape = tf.concat([tf.shape(a), [1] * len(axes)], 0)
        spread = tf.reshape(tf.sqrt(a), shape) + epsilon
        return [weights - rate * gradient / spread, a]

    def get_config(self) -> dict[str, typing.Any]:
        """Return the hyper-parameters."""
        return {
            **super().get_config(),
            "initial_accumulator": self.initial_accumulator,
            "epsilon": self.epsilon,
        }
