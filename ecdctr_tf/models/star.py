"""STAR: a network whose weights are shared ones times those of the domain.

Shapes: B batch, N inputs of a layer, U units, P domains.
"""

import typing

import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.joint import of_domain

DOMAINS = len(features.DOMAINS)
# Of Keras' batch norm.
_EPSILON = 1e-3


class STAR(CTRModel):
    """Star topology adaptive recommender.

    The inputs are normalised by the statistics of their own domain. The fully
    connected network has a shared and a domain's weights in each layer
    (`StarDense`). An auxiliary network sees the inputs beside the domain; its
    logit is added. The cross network, which STAR does not have, is shared and
    read by the last layer.

    The star's layers have all of `hidden_units`: a domain computes as much as
    the MLP does, and the weights are three times as many. The auxiliary network
    has one hidden layer, as wide as the last of them.

    Reference: One Model to Serve All: Star Topology Adaptive Recommender for
    Multi-Domain CTR Prediction (arXiv 2101.11427).
    """

    def _make_norm(
        self, config: configs.ModelConfig, policy: str
    ) -> keras.layers.Layer:
        return PartitionedNorm(config.batch_norm_momentum, dtype=policy)

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        self.star = [
            StarDense(units, l2, dtype=policy) for units in config.hidden_units
        ]
        self.head = StarDense(1)
        self.auxiliary = keras.layers.Dense(
            (config.hidden_units or (1,))[-1],
            activation="relu",
            kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
            dtype=policy,
        )
        self.auxiliary_head = keras.layers.Dense(1)

    def _normalise(
        self, x: tf.Tensor, domain: tf.Tensor | None, training: bool | None
    ) -> tf.Tensor:
        return self.input_norm(x, domain, training=training)

    def _top(
        self, x: tf.Tensor, domain: tf.Tensor | None, training: bool | None
    ) -> tf.Tensor:
        hidden = x
        for layer in self.star:
            hidden = tf.nn.relu(layer(hidden, domain))  # [B, U]
        top = tf.concat([hidden, *self._crossed(x)], axis=1)
        # The rows of the kernel that one-hot domains read are embeddings.
        beside = tf.concat(
            [x, tf.one_hot(domain, DOMAINS, dtype=x.dtype)], axis=1
        )
        auxiliary = self.auxiliary_head(self.auxiliary(beside))
        return self.head(top, domain) + auxiliary  # [B, 1]


class StarDense(keras.layers.Layer):
    """Dense layer of the weights `W * W_p` and the bias `b + b_p`.

    The domain's weights `W_p` start at one and `b`, `b_p` at zero, so that all
    domains start alike.

    Args:
      units: U.
      l2: penalty on the squared products of the weights.
      **kwargs: what Keras' layers take.
    """

    def __init__(self, units: int, l2: float = 0.0, **kwargs: typing.Any):
        """Keep the sizes."""
        super().__init__(**kwargs)
        self.units = units
        self.l2 = l2

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the weights."""
        sizes = [input_shape[-1], self.units]
        self.kernel = self.add_weight("kernel", sizes)
        self.domain_kernels = self.add_weight(
            "domain_kernels", [DOMAINS, *sizes], initializer="ones"
        )
        self.bias = self.add_weight("bias", [self.units], initializer="zeros")
        self.domain_biases = self.add_weight(
            "domain_biases", [DOMAINS, self.units], initializer="zeros"
        )

    def call(self, inputs: tf.Tensor, domain: tf.Tensor) -> tf.Tensor:
        """Return `[B, U]`.

        Args:
          inputs: `[B, N]`.
          domain: int32 `[B]`, places in `features.DOMAINS`.
        """
        kernels = self.kernel * self.domain_kernels  # [P, N, U]
        biases = self.bias + self.domain_biases  # [P, U]
        if self.l2:
            squares = tf.reduce_sum(tf.square(kernels))
            self.add_loss(self.l2 * tf.cast(squares, tf.float32))
        outputs = [
            tf.matmul(inputs, kernels[p]) + biases[p] for p in range(DOMAINS)
        ]
        natural, ads = outputs
        return of_domain(natural, ads, domain)


class PartitionedNorm(keras.layers.Layer):
    """Normalise by the statistics of the domain, scale and shift by both.

    `gamma * gamma_p * (x - mean_p) / sqrt(variance_p + epsilon) + beta +
    beta_p`, with the mean and the variance of the domain's rows of the batch
    in training, and moving ones otherwise. A domain that has less than two
    rows in a batch has its moving ones there, and they stay as they are. All is
    computed in float32, whatever the policy.

    Args:
      momentum: share of the old value in the moving statistics.
      **kwargs: what Keras' layers take.
    """

    def __init__(self, momentum: float, **kwargs: typing.Any):
        """Keep the momentum."""
        super().__init__(autocast=False, **kwargs)
        self.momentum = momentum

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make scales, shifts and moving statistics."""
        columns = input_shape[-1]
        self.gamma = self._weight("gamma", [columns], "ones")
        self.beta = self._weight("beta", [columns], "zeros")
        of_domains = [DOMAINS, columns]
        self.domain_gammas = self._weight("domain_gammas", of_domains, "ones")
        self.domain_betas = self._weight("domain_betas", of_domains, "zeros")
        self.moving_mean = self._weight(
            "moving_mean", of_domains, "zeros", trainable=False
        )
        self.moving_variance = self._weight(
            "moving_variance", of_domains, "ones", trainable=False
        )

    def _weight(
        self,
        name: str,
        shape: list[int | None],
        initial: str,
        trainable: bool = True,
    ) -> tf.Variable:
        return self.add_weight(
            name,
            shape,
            initializer=initial,
            trainable=trainable,
            experimental_autocast=False,
        )

    def call(
        self, inputs: tf.Tensor, domain: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Return the normalised inputs, `[B, N]`.

        Args:
          inputs: `[B, N]`.
          domain: int32 `[B]`, places in `features.DOMAINS`.
          training: whether to use and learn the statistics of the batch.
        """
        inputs = tf.cast(inputs, tf.float32)
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = self._statistics(inputs, domain)
        scale = self.gamma * self.domain_gammas  # [P, N]
        scale *= tf.math.rsqrt(variance + _EPSILON)
        shift = self.beta + self.domain_betas  # [P, N]
        centred = inputs - tf.gather(mean, domain)  # [B, N]
        scaled = centred * tf.gather(scale, domain)
        return tf.cast(scaled + tf.gather(shift, domain), self.compute_dtype)

    def _statistics(
        self, inputs: tf.Tensor, domain: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return mean and variance `[P, N]` of a batch; move the moving ones.

        Like those of `BatchNorm`, moving variances are unbiased.
        """
        of_rows = tf.ones_like(inputs[:, :1])  # [B, 1]
        rows = tf.math.unsorted_segment_sum(of_rows, domain, DOMAINS)  # [P, 1]
        enough = rows > 1
        mean = tf.math.unsorted_segment_mean(inputs, domain, DOMAINS)
        squares = tf.square(inputs - tf.gather(mean, domain))
        variance = tf.math.unsorted_segment_mean(squares, domain, DOMAINS)
        unbiased = variance * rows / tf.maximum(rows - 1, 1)
        for moving, new in (
            (self.moving_mean, mean),
            (self.moving_variance, unbiased),
        ):
            moved = self.momentum * moving + (1 - self.momentum) * new
            moving.assign(tf.where(enough, moved, moving))
        return (
            tf.where(enough, mean, self.moving_mean),
            tf.where(enough, variance, self.moving_variance),
        )
