"""Artefacts: directories that exist whole or not at all.

An artefact is written under a temporary name beside its place, gets a
`manifest.json` (what it is, the days in it, hashes of its files, its parents,
its config and metrics) and is renamed. Readers go through `read_manifest`.

Several processes may write to one directory: what each is writing is safe from
the others (`staging`), and `lock` lets one writer in at a time.
"""

from ecdctr_tf.store.artefacts import (
    dated,
    file,
    file_hash,
    parent,
    publish,
    read_manifest,
    rename,
    verify,
)
from ecdctr_tf.store.locks import Lock, TakenError, lock
from ecdctr_tf.store.manifest import HASH, Manifest
from ecdctr_tf.store.manifest import NAME as MANIFEST
from ecdctr_tf.store.revisions import revision
from ecdctr_tf.store.staging import (
    leftovers,
    link,
    remove,
    replacing,
    staged,
    swap,
    sweep,
    sync,
    sync_names,
    write_text,
)

__all__ = [
    "HASH",
    "MANIFEST",
    "Lock",
    "Manifest",
    "TakenError",
    "dated",
    "file",
    "file_hash",
    "leftovers",
    "link",
    "lock",
    "parent",
    "publish",
    "read_manifest",
    "remove",
    "rename",
    "replacing",
    "revision",
    "staged",
    "swap",
    "sweep",
    "sync",
    "sync_names",
    "verify",
    "write_text",
]
