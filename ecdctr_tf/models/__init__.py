"""The click-through-rate model of all levels, joint and plugged models."""

from ecdctr_tf.models.ctnet import CTNet
from ecdctr_tf.models.joint import JointModel
from ecdctr_tf.models.keep import KEEP
from ecdctr_tf.models.mmoe import MMoE
from ecdctr_tf.models.ple import PLE
from ecdctr_tf.models.star import STAR

# `config.JOINT_MODELS` -> model.
JOINT = {"joint": JointModel, "mmoe": MMoE, "ple": PLE, "star": STAR}
# `config.PLUGGED_MODELS` -> model.
PLUGGED = {"keep": KEEP, "ctnet": CTNet}

__all__ = [
    "CTNet",
    "JOINT",
    "JointModel",
    "KEEP",
    "MMoE",
    "PLE",
    "PLUGGED",
    "STAR",
]
