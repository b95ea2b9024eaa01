"""Joint training: one network for natural logs and ads, told apart by a flag.

Shapes: B batch, N inputs of the network.
"""

import tensorflow as tf

from ecdctr_tf import features
from ecdctr_tf.models.ctr_model import CTRModel

ADS = features.DOMAINS.index("ads")


class JointModel(CTRModel):
    """The network of `CTRModel` with one more input: 1 for ads, 0 for natural.

    The flag joins the inputs after they are normalised and is itself left as
    it is: where a model has not seen ads yet, batch norm would blow it up. All
    weights are shared; the network is larger by the flag's column only.

    Reference: the base model of STAR (arXiv 2101.11427), trained on rows of all
    domains, with a flag.
    """

    def _top(
        self, x: tf.Tensor, domain: tf.Tensor | None, training: bool | None
    ) -> tf.Tensor:
        flag = tf.cast(domain == ADS, x.dtype)[:, tf.newaxis]
        return super()._top(tf.concat([x, flag], axis=1), domain, training)


def of_domain(
    natural: tf.Tensor, ads: tf.Tensor, domain: tf.Tensor
) -> tf.Tensor:
    """Return for each row what was computed for its domain.

    Args:
      natural: `[B, N]`, computed as if all rows were natural.
      ads: `[B, N]`, computed as if all rows were ads.
      domain: int32 `[B]`, places in `features.DOMAINS`.
    """
    return tf.where((domain == ADS)[:, tf.newaxis], ads, natural)
