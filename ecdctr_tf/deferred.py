"""TensorFlow and Keras for modules that the converter imports too.

Importing them takes seconds, and converting logs needs neither. Here, each is
imported when one of its names is first used. So a module that has `tf` from
here imports at once if nothing in it uses `tf` at import: it begins with
`from __future__ import annotations`, which leaves annotations unevaluated.
"""

import importlib
import typing


class _Deferred:
    """A module by name, imported when an attribute of it is first used."""

    def __init__(self, module: str):
        self._module = module

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(importlib.import_module(self._module), name)


if typing.TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras as keras
else:
    tf, keras = _Deferred("tensorflow"), _Deferred("tf_keras")

__all__ = ["keras", "tf"]
