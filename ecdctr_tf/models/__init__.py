"""The click-through-rate model of all three levels, and joint models."""

from ecdctr_tf.models.joint import JointModel
from ecdctr_tf.models.mmoe import MMoE
from ecdctr_tf.models.ple import PLE
from ecdctr_tf.models.star import STAR

# `config.JOINT_MODELS` -> model.
JOINT = {"joint": JointModel, "mmoe": MMoE, "ple": PLE, "star": STAR}

__all__ = ["JOINT", "JointModel", "MMoE", "PLE", "STAR"]
