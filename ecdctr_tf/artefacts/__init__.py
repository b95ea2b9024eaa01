"""What the artefact of a level holds, and the model rebuilt from it.

Training and export both build models here and nowhere else. An artefact of
kind "snapshot" (TPM), "cpm" or "ctr" (A-CTR) holds

```
config.json   the config of the model
spec.json     the features of the data
weights.*     its weights, a checkpoint
optimizer.*   the state of its optimizers, to train it further
curve.json    the learning curve of its window
first_rows.npz  of a CPM, once ids have expired: which numbers its rows had
              when they got their first values
merged.*      of a CPM with self-attention: the historical vectors it merged
scores.npz    of an A-CTR: the day, scored before it was trained on
held_out.npz  of an A-CTR: the last rows of the day, scored when it had been
              trained on those before them
restore.json  of an A-CTR: what it took from a CPM, variable by variable
```

The days of a mixture are of kind "ctr" too. Instead of weights they hold
`mixture.json`, the weights of its experts, whose days are among their parents.
"""

from ecdctr_tf.artefacts.building import (
    build,
    look_up,
    model_spec,
    network,
    read_weights,
    set_buckets,
    stage,
    weights,
)
from ecdctr_tf.artefacts.files import (
    CONFIG,
    CPM,
    CTR,
    CURVE,
    FIRST_ROWS,
    HELD_OUT,
    INPUTS,
    MERGED,
    MIXTURE,
    OPTIMIZER,
    RESTORE,
    SCORES,
    SPEC,
    TPM,
    WEIGHTS,
    Noted,
    check_model,
    check_rows,
    first_rows,
    read_config,
    read_json,
    read_mixture,
    read_scores,
    table_rows,
    verified,
    write_first_rows,
)
from ecdctr_tf.artefacts.histories import (
    historical_tables,
    history_for,
    history_of,
    merged_arrays,
    read_merged,
)
from ecdctr_tf.artefacts.models import (
    frozen,
    read_cpm,
    read_model,
)
from ecdctr_tf.artefacts.parents import (
    cpm_of,
    cpm_role,
    expert_role,
    needs_cpm,
    parent_path,
)

__all__ = [
    "CONFIG",
    "CPM",
    "CTR",
    "CURVE",
    "FIRST_ROWS",
    "HELD_OUT",
    "INPUTS",
    "MERGED",
    "MIXTURE",
    "Noted",
    "OPTIMIZER",
    "RESTORE",
    "SCORES",
    "SPEC",
    "TPM",
    "WEIGHTS",
    "build",
    "check_model",
    "check_rows",
    "cpm_of",
    "cpm_role",
    "expert_role",
    "first_rows",
    "frozen",
    "historical_tables",
    "history_for",
    "history_of",
    "look_up",
    "merged_arrays",
    "model_spec",
    "needs_cpm",
    "network",
    "parent_path",
    "read_config",
    "read_cpm",
    "read_json",
    "read_merged",
    "read_mixture",
    "read_model",
    "read_scores",
    "read_weights",
    "set_buckets",
    "stage",
    "table_rows",
    "verified",
    "weights",
    "write_first_rows",
]
