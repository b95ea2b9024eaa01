"""Sums over the replicas that share the rows of a batch.

Under a synchronous strategy of `tf.distribute` each replica has a part of a
batch. What a layer or a loss says of a batch, it has to say of all parts.
"""

import tensorflow as tf


def count() -> int:
    """Return how many replicas share a batch; 1 outside of strategies."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def total(value: tf.Tensor) -> tf.Tensor:
    """Return the sum of what all replicas give, with its gradient."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
