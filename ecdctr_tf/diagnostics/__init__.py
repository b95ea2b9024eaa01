"""Whether transfer can pay on given logs, told before a level is trained."""

from ecdctr_tf.diagnostics.diagnose import write

__all__ = ["write"]
