"""E-CDCTR: click-through-rate models for ads, lifted by natural logs.

Layers, optimizers and metrics can be used in any Keras 2 model; the docstring
of each has an example. In the examples `ecdctr_tf`, NumPy (`np`), TensorFlow
(`tf`) and `tf_keras` (`keras`) are imported. A name is imported when it is
first used, so that `import ecdctr_tf` loads neither TensorFlow nor NumPy.

Keras 2 (`tf_keras`) is chosen here, before anything else can touch `tf.keras`:
tensorflow-recommenders does not work with Keras 3.
"""

import importlib
import os
import typing

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# Errors of its own are raised; what it logs is about GPUs that are not there.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"

# Public name -> the module that defines it.
_MODULES = {
    # The model.
    "CTRModel": "models.ctr_model",
    # Layers.
    "HistoricalEmbedding": "layers.historical_embedding",
    "HistoricalTable": "layers.historical_embedding",
    "FeatureEmbedding": "layers.feature_embedding",
    "TableEmbedding": "layers.table_embedding",
    "TargetAttention": "layers.target_attention",
    "ScaledNumbers": "layers.scaled_numbers",
    "MLP": "layers.mlp",
    "BatchNorm": "layers.batch_norm",
    # Optimizers.
    "LazyAdam": "optimizers.lazy_adam",
    "RowWiseAdagrad": "optimizers.row_wise_adagrad",
    # Metrics, in NumPy.
    "auc": "metrics.ranking",
    "expected_auc": "metrics.ranking",
    "gauc": "metrics.ranking",
    "log_loss": "metrics.calibration",
    "normalized_entropy": "metrics.calibration",
    "pcoc": "metrics.calibration",
    # Data and configuration.
    "DataSpec": "features",
    "FeatureSpec": "features",
    "TableSpec": "features",
    "DataDirectory": "input.data_directory",
    "Window": "windows",
    "Config": "config",
    "ModelConfig": "config",
}

__all__ = list(_MODULES)

if typing.TYPE_CHECKING:
    from ecdctr_tf.config import Config as Config
    from ecdctr_tf.config import ModelConfig as ModelConfig
    from ecdctr_tf.features import DataSpec as DataSpec
    from ecdctr_tf.features import FeatureSpec as FeatureSpec
    from ecdctr_tf.features import TableSpec as TableSpec
    from ecdctr_tf.input.data_directory import DataDirectory as DataDirectory
    from ecdctr_tf.layers.batch_norm import BatchNorm as BatchNorm
    from ecdctr_tf.layers.feature_embedding import (
        FeatureEmbedding as FeatureEmbedding,
    )
    from ecdctr_tf.layers.historical_embedding import (
        HistoricalEmbedding as HistoricalEmbedding,
    )
    from ecdctr_tf.layers.historical_embedding import (
        HistoricalTable as HistoricalTable,
    )
    from ecdctr_tf.layers.mlp import MLP as MLP
    from ecdctr_tf.layers.scaled_numbers import ScaledNumbers as ScaledNumbers
    from ecdctr_tf.layers.table_embedding import (
        TableEmbedding as TableEmbedding,
    )
    from ecdctr_tf.layers.target_attention import (
        TargetAttention as TargetAttention,
    )
    from ecdctr_tf.metrics.calibration import log_loss as log_loss
    from ecdctr_tf.metrics.calibration import (
        normalized_entropy as normalized_entropy,
    )
    from ecdctr_tf.metrics.calibration import pcoc as pcoc
    from ecdctr_tf.metrics.ranking import auc as auc
    from ecdctr_tf.metrics.ranking import expected_auc as expected_auc
    from ecdctr_tf.metrics.ranking import gauc as gauc
    from ecdctr_tf.models.ctr_model import CTRModel as CTRModel
    from ecdctr_tf.optimizers.lazy_adam import LazyAdam as LazyAdam
    from ecdctr_tf.optimizers.row_wise_adagrad import (
        RowWiseAdagrad as RowWiseAdagrad,
    )
    from ecdctr_tf.windows import Window as Window


def __getattr__(name: str) -> typing.Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of the module, the public ones included."""
    return sorted({*globals(), *__all__})
