"""The A-CTR as a SavedModel that TensorFlow Serving loads.

`publish` makes a day of the A-CTR the next version, unless the gate refuses it
(`gate`), `roll_back` returns to the one before, and `export_model` only writes
a version. Raw ids and features go in by name, click probabilities come out; id
mapping, historical embeddings and network are one graph of stock TensorFlow
operations.

These signatures are served:

- `serving_default`: one tensor a feature. Ids are int64 or string `[B]`, by the
  dtype of their table; lists `[B, L]` of raw ids, of any length L, sequences
  oldest first; weights, attributes and ages of entries are tensors of the same
  shape; vectors float32 `[B, length]`; dense numbers float32 `[B]`. Unused
  places of a list hold -1 (int64) or "" (string), wherever they are, and are no
  entries.
- `rank`: many candidates of each of U users. What belongs to the item, and
  positions, are `[U, N]` (lists `[U, N, L]`); everything else is the user's,
  `[U]` and `[U, L]`.
- `predict_examples`: `examples` string `[B]`, serialized `tf.train.Example`
  rows with the same raw values under the same names.
- `regression` and `classification`: `inputs` string `[B]`, the same Examples,
  to `outputs` float32 `[B]`, and to `classes` string and `scores` float32
  `[B, 2]`, of "no click" and "click". They answer TensorFlow Serving's Regress
  and Classify.
- `embeddings`: raw ids to `<feature>_vector` float32 `[B, D]`, their historical
  vectors, and `<feature>_known` float32 `[B]`, 1 where there is one.

The first three have the outputs `ctr` float32 in (0, 1) and `logit` float32,
`[B]` or `[U, N]`.

Inputs that are not there are missing ids, empty lists, missing vectors and
numbers (NaN), weights of 1, unknown ages, and the default position. Only the
ids of user and item are required, and in Examples not even these: a row without
one has an unknown id. A number that is not finite is a missing one. Tensors
that do not have the same number of rows are refused.

With `serving.history=as_input` requests bring historical vectors and their
version (`given_history`), answers have `vectors_ignored`, int32 of the shape of
`ctr`, and there is no `embeddings`.

The models are served in the form of `folded`, which gives the same logits with
fewer operations.
"""

from ecdctr_tf.export.gate import RefusedError
from ecdctr_tf.export.saved_model import export_model
from ecdctr_tf.export.versions import publish, roll_back

__all__ = ["RefusedError", "export_model", "publish", "roll_back"]
