"""The A-CTR as a SavedModel that TensorFlow Serving loads.

`publish` makes a day of the A-CTR the next version, `roll_back` returns to the
one before, and `export_model` only writes a version. Raw ids and features go in
by name, click probabilities come out; id mapping, historical embeddings and
network are one graph of stock TensorFlow operations.

Two signatures are served, with the same outputs `ctr` float32 `[-1]` in (0, 1)
and `logit` float32 `[-1]`:

- `serving_default`: one tensor a feature. Ids are int64 or string `[-1]`, by
  the dtype of their table; lists `[-1, L]` of raw ids, of any length L,
  sequences oldest first; weights, attributes and ages of entries are tensors of
  the same shape; vectors float32 `[-1, length]`; dense numbers float32 `[-1]`.
  Unused places of a list hold -1 (int64) or "" (string), wherever they are, and
  are no entries.
- `predict_examples`: `examples` string `[-1]`, serialized `tf.train.Example`
  rows with the same raw values under the same names.

Inputs that are not there are missing ids, empty lists, missing vectors and
numbers (NaN), weights of 1, unknown ages, and the default position. Only the
ids of user and item are required.
"""

from ecdctr_tf.export.saved_model import export_model
from ecdctr_tf.export.versions import publish, roll_back

__all__ = ["export_model", "publish", "roll_back"]
