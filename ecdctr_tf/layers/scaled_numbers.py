"""Numbers, scaled by statistics of rows, with indicators of missing ones.

Shapes: B batch, N columns of numbers, M rows of a sample, Q quantiles.
"""

import typing

import numpy as np
import tensorflow as tf
import tf_keras as keras

STANDARDISE, LOG1P, QUANTILES, CLIP = (
    "standardise",
    "log1p",
    "quantiles",
    "clip",
)
# Scaled numbers lie between minus this and this.
LIMIT = 5.0
# Shares of the values that lie below each of the Q quantiles.
_SHARES = (np.arange(100) + 0.5) / 100
# A column that is the same in a larger share of the rows starts without effect.
_STEADY = 0.99
# Gains are this many times their weights, so that one of 0 grows fast enough.
_PACE = 10.0
# The least deviation that is not rounding, by itself and by the mean.
_LEAST, _LEAST_SHARE = 1e-30, 1e-6


@keras.saving.register_keras_serializable("ecdctr_tf")
class ScaledNumbers(keras.layers.Layer):
    """Scale numbers whose size is not known, some of which are missing.

    `(t(x) - mean) / deviation`, kept between -5 and 5, where t is

    - "standardise": x itself;
    - "log1p": `sign(x) log(1 + |x|)`, for numbers of heavy tails;
    - "quantiles": the share of the values that lie below x, among 100
      quantiles, for numbers of any distribution;
    - "clip": x, kept between the 0.5 % and the 99.5 % quantile.

    A missing number, NaN, is scaled to 0, and its indicator is 1.

    `adapt` takes the statistics from rows. They are weights that no gradient
    changes, so checkpoints and exported graphs hold them. What has been the
    same in all rows (all values, or whether they are missing) has no effect at
    all until `adapt` is called with rows in which it varies. It then starts
    with a gain of 0, which is learned: layers above have been trained without.

    Args:
      transform: t.
      **kwargs: what Keras' layers take.

    Example:
      >>> scaled = ecdctr_tf.ScaledNumbers()
      >>> scaled.adapt(np.array([[1.0], [3.0], [np.nan], [1.0], [3.0]]))
      >>> scaled(np.array([[5.0], [1e9], [np.nan]])).numpy().tolist()
      [[3.0, 0.0], [5.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, transform: str = STANDARDISE, **kwargs: typing.Any):
        """Keep the transform.

        Raises:
          ValueError: the transform is not known.
        """
        super().__init__(**kwargs)
        if transform not in _TRANSFORMS:
            raise ValueError(
                f"`transform` should be one of {', '.join(_TRANSFORMS)}. "
                f"Received: {transform!r}"
            )
        self.transform = transform

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the weights of N columns."""
        columns = input_shape[-1]
        # Of the values t(x); a deviation of 0 says that they do not vary.
        self.mean = self._statistic("mean", [columns])
        self.deviation = self._statistic("deviation", [columns])
        self.quantiles = self._statistic("quantiles", [len(_SHARES), columns])
        # 1 where some numbers were missing and others were not.
        self.partial = self._statistic("partial", [columns])
        # Rows that `adapt` has looked at.
        self.rows = self._statistic("rows", [], tf.int64)
        # A tenth of the gains of scaled numbers, and of their indicators.
        self.gain = self.add_weight("gain", [2, columns], initializer="zeros")
        super().build(input_shape)

    def _statistic(
        self, name: str, shape: list[int | None], dtype: tf.DType = tf.float32
    ) -> tf.Variable:
        return self.add_weight(
            name, shape, dtype, initializer="zeros", trainable=False
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return scaled numbers and then their indicators, `[B, 2N]`.

        Args:
          inputs: float32 `[B, N]`; NaN is a missing number.
        """
        missing = tf.math.is_nan(inputs)  # [B, N]
        values = tf.where(missing, 0.0, inputs)
        scaled = tf.math.divide_no_nan(
            self._transformed(values) - self.mean, self.deviation
        )
        scaled = tf.clip_by_value(scaled, -LIMIT, LIMIT)
        scaled = tf.where(missing, 0.0, scaled)
        indicators = tf.cast(missing, scaled.dtype) * self.partial
        gain = _PACE * self.gain  # [2, N]
        return tf.concat([scaled * gain[0], indicators * gain[1]], axis=1)

    def _transformed(self, values: tf.Tensor) -> tf.Tensor:
        """Return t of values `[B, N]` that are not missing."""
        return _TRANSFORMS[self.transform](values, self.quantiles)

    def open(self) -> None:
        """Let numbers have their full gain as soon as statistics are known.

        For layers above that do not read them yet: a gain of 0 below weights of
        0 would never be learned.
        """
        self.gain.assign(tf.ones_like(self.gain) / _PACE)

    @property
    def varies(self) -> np.ndarray:
        """Whether numbers that differ have been seen, bool `[N]`."""
        return self.deviation.numpy() > 0

    @property
    def complete(self) -> bool:
        """Whether `adapt` can find nothing more."""
        return bool((self.varies & (self.partial.numpy() > 0)).all())

    def adapt(self, numbers: np.ndarray) -> None:
        """Take the statistics that are not known yet from rows.

        What is known stays: layers above have learned what it means.

        Args:
          numbers: `[M, N]`; NaN is a missing number, infinite ones are left
            out.
        """
        numbers = np.asarray(numbers, np.float32)
        if not self.built:
            self.build(tf.TensorShape(numbers.shape))
        if not len(numbers):
            return
        start = float(self.rows.numpy() == 0) / _PACE
        finite, missing = np.isfinite(numbers), np.isnan(numbers)
        quantiles = self.quantiles.numpy()
        unknown = np.flatnonzero(~self.varies & finite.any(axis=0))
        for i in unknown:
            quantiles[:, i] = np.quantile(
                numbers[finite[:, i], i], _SHARES, method="nearest"
            )
        self.quantiles.assign(quantiles)
        mean, deviation = self.mean.numpy(), self.deviation.numpy()
        gain, partial = self.gain.numpy(), self.partial.numpy()
        transformed = self._transformed(tf.constant(numbers)).numpy()
        for i in unknown:
            values = transformed[finite[:, i], i]
            mean[i], deviation[i], differ = _robust(values)
            if deviation[i] and differ >= (1 - _STEADY) * len(numbers):
                gain[0, i] = start or gain[0, i]
        share = missing.mean(axis=0)
        some = (partial == 0) & (share > 0) & (share < 1)
        partial[some] = 1
        often = some & (np.minimum(share, 1 - share) >= 1 - _STEADY)
        gain[1, often] = start or gain[1, often]
        for weight, value in (
            (self.mean, mean),
            (self.deviation, deviation),
            (self.partial, partial),
            (self.gain, gain),
        ):
            weight.assign(value)
        self.rows.assign_add(len(numbers))

    def get_config(self) -> dict[str, typing.Any]:
        """Return the arguments of the layer."""
        return {**super().get_config(), "transform": self.transform}


def _robust(values: np.ndarray) -> tuple[float, float, int]:
    """Return mean and deviation of the bulk of values, and how many differ.

    Values far outside of the middle 80 % count as if they lay on its fences,
    three times its width away. So do extreme ones where nearly all others are
    equal: the middle is that of the values that differ from the median.

    Args:
      values: `[M]`, finite.

    Returns:
      The mean; the deviation, 0 if values do not vary; the number of values
      that are not the median.
    """
    values = values.astype(np.float64)
    median = np.median(values)
    others = values[values != median]
    if not len(others):
        return 0.0, 0.0, 0
    low, high = np.quantile(others, [0.1, 0.9], method="nearest")
    low, high = min(low, median), max(high, median)
    fence = 3 * (high - low)
    values = np.clip(values, low - fence, high + fence)
    mean, deviation = float(values.mean()), float(values.std())
    if deviation < max(_LEAST, _LEAST_SHARE * abs(mean)):
        return 0.0, 0.0, 0
    return mean, deviation, len(others)


def _log1p(values: tf.Tensor, quantiles: tf.Tensor) -> tf.Tensor:
    del quantiles
    return tf.sign(values) * tf.math.log1p(tf.abs(values))


def _rank(values: tf.Tensor, quantiles: tf.Tensor) -> tf.Tensor:
    """Return the share of quantiles below each value; equal ones count half."""
    compared = tf.sign(values[:, tf.newaxis] - quantiles)  # [B, Q, N]
    return tf.reduce_mean(compared, axis=1) / 2 + 0.5


def _clipped(values: tf.Tensor, quantiles: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(values, quantiles[0], quantiles[-1])


_TRANSFORMS: dict[str, typing.Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    STANDARDISE: lambda values, quantiles: values,
    LOG1P: _log1p,
    QUANTILES: _rank,
    CLIP: _clipped,
}
