"""The A-CTR as a SavedModel that TensorFlow Serving loads.

`export_model` is all that is needed. Raw ids and features go in by name, click
probabilities come out; id mapping, historical embeddings and network are one
graph of stock TensorFlow operations.

Two signatures are served, with the same outputs `ctr` float32 `[-1]` in (0, 1)
and `logit` float32 `[-1]`:

- `serving_default`: one tensor a feature. Ids are int64 or string `[-1]`, by
  the dtype of their table; sequences `[-1, L]` of raw ids, oldest first, of any
  length L; dense numbers float32 `[-1]`. Unused places of a sequence hold -1
  (int64) or "" (string), wherever they are, and are no behaviors.
- `predict_examples`: `examples` string `[-1]`, serialized `tf.train.Example`
  rows with the same raw values under the same names. A row without a sequence
  has no behaviors; ids and dense numbers are required.
"""

from ecdctr_tf.export.saved_model import export_model

__all__ = ["export_model"]
