"""The tuning that every model gets alike: the same trials around its config."""

import dataclasses
from collections.abc import Sequence

from ecdctr_tf import config as configs
from ecdctr_tf.model_table import MODELS
from ecdctr_tf.results.models import Model


@dataclasses.dataclass(frozen=True)
class Trial:
    """Changes of a training config."""

    # Factors of the learning rates.
    dense: float = 1.0
    table: float = 1.0
    # Penalty on the squared embeddings of a batch, a row; None: as it is.
    table_l2: float | None = None

    def apply(self, training: configs.TrainingConfig) -> configs.TrainingConfig:
        """Return the changed training config."""
        table_l2 = training.table_l2
        if self.table_l2 is not None:
            table_l2 = self.table_l2
        return dataclasses.replace(
            training,
            dense_learning_rate=training.dense_learning_rate * self.dense,
            table_learning_rate=training.table_learning_rate * self.table,
            table_l2=table_l2,
        )


def best(config: configs.Config, models: Sequence[Model]) -> configs.Config:
    """Return the config with what the trials chose for each model.

    Args:
      config: the config that the trials started from.
      models: what was compared; ablations have no trials of their own.
    """
    tuned = {m.name: m.config.ctr for m in models if not m.row.ablation}
    kept = (a for a in config.of_models if a.partition(".")[0] not in tuned)
    ctr = tuned.get("e_cdctr", config.ctr)
    config = dataclasses.replace(config, ctr=ctr, of_models=tuple(kept))
    for name, training in tuned.items():
        own = configs.of_model(config, MODELS[name]).ctr
        changed = [
            f"{name}.{field}={value}"
            for field, value in dataclasses.asdict(training).items()
            if value != getattr(own, field)
        ]
        config = configs.override(config, changed)
    return config


# In the order in which they are tried; the first changes nothing.
TRIALS = (
    Trial(),
    Trial(2.0, 2.0),
    Trial(0.5, 0.5),
    Trial(table_l2=1e-4),
    Trial(1.0, 3.0),
    Trial(1.0, 0.3),
    Trial(0.3, 1.0),
    Trial(3.0, 1.0),
)
