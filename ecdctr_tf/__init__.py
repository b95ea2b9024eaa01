"""E-CDCTR: click-through-rate models for ads, lifted by natural logs.

Keras 2 (`tf_keras`) is chosen here, before anything else can touch `tf.keras`:
tensorflow-recommenders does not work with Keras 3.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

__version__ = "0.1.0"
