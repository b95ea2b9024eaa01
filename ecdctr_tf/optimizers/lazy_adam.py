"""Adam that touches only the rows of a batch."""

import typing

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.optimizers.table_optimizer import LearningRate, TableOptimizer


@keras.saving.register_keras_serializable("ecdctr_tf")
class LazyAdam(TableOptimizer):
    """Adam whose moments of a table's row change only when the row is used.

    `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g²`,
    `w -= lr m sqrt(1 - b2^t) / (1 - b1^t) / (sqrt(v) + epsilon)`, for the
    rows of the batch; t counts steps. Dense gradients get plain Adam. State:
    two floats a weight.

    Args:
      learning_rate: a number or a schedule.
      beta_1: decay b1 of the first moment, [0, 1).
      beta_2: decay b2 of the second moment, [0, 1).
      epsilon: guards the division.
      name: of the optimizer.
      **kwargs: see `TableOptimizer`.

    Reference: Adam (arXiv 1412.6980), the form without epsilon-hat.

    Example:
      >>> table = keras.layers.Embedding(1000, 8, input_length=1)
      >>> model = keras.Sequential(
      ...     [table, keras.layers.Flatten(), keras.layers.Dense(1)]
      ... )
      >>> model.compile(optimizer=ecdctr_tf.LazyAdam(1e-2), loss="mse")
      >>> before = table.embeddings.numpy()
      >>> ids, targets = np.array([[3], [7]]), np.array([0.0, 1.0])
      >>> _ = model.fit(ids, targets, epochs=2, verbose=0)
      >>> changed = np.any(table.embeddings.numpy() != before, axis=1)
      >>> np.flatnonzero(changed).tolist()
      [3, 7]
    """

    compiled = "ecdctr_lazy_adam"

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "LazyAdam",
        **kwargs: typing.Any,
    ):
        """Keep the hyper-parameters."""
        super().__init__(learning_rate, name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def make_state(self, variable: tf.Variable) -> list[tf.Variable]:
        """Make the two moments, of the variable's shape."""
        return [
            self.add_variable_from_reference(variable, name)
            for name in ("m", "v")
        ]

    def settings(self) -> list[typing.Any]:
        """Return the bias-corrected learning rate, b1, b2 and epsilon."""
        step = tf.cast(self.iterations + 1, tf.float32)
        correction = tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        rate = correction * tf.cast(self.learning_rate, tf.float32)
        return [rate, self.beta_1, self.beta_2, self.epsilon]

    def update_dense(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        state: list[tf.Variable],
        settings: list[typing.Any],
    ) -> None:
        """Take a step of Adam by TensorFlow's fused op."""
        rate, beta_1, beta_2, epsilon = settings
        # The rate is corrected for bias already: powers of 0 leave it so.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=state[0].handle,
            v=state[1].handle,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=gradient,
        )

    def new_values(
        self,
        weights: tf.Tensor,
        gradient: tf.Tensor,
        state: list[tf.Tensor],
        settings: list[typing.Any],
    ) -> list[tf.Tensor]:
        """Return new weights and moments."""
        rate, beta_1, beta_2, epsilon = settings
        m = beta_1 * state[0] + (1 - beta_1) * gradient
        v = beta_2 * state[1] + (1 - beta_2) * tf.square(gradient)
        return [weights - rate * m / (tf.sqrt(v) + epsilon), m, v]

    def get_config(self) -> dict[str, typing.Any]:
        """Return the hyper-parameters."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
