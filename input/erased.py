"""Which erasures a data directory has been through; never whose ids they were.

`erased.json` has an entry for each `--stage=erase` that found ids: the date,
how many ids there were, and the hashes that the vocabulary of users had before.
An artefact that bears one of these hashes is of this directory, and holds
vectors of ids that are erased since.
"""

import dataclasses
import json
import pathlib

from ecdctr_tf import store, typed_values

FILE = "erased.json"


@dataclasses.dataclass(frozen=True)
class Erasure:
    """Ids that were erased together."""

    # YYYY-MM-DD, UTC.
    date: str
    ids: int
    # Hashes that the vocabulary of users had until then, of its first rows.
    former: tuple[str, ...]


def load(directory: pathlib.Path) -> list[Erasure]:
    """Return the erasures of a data directory, in order.

    Raises:
      ValueError: the file is damaged.
    """
    return typed_values.read_list(
        directory / FILE,
        lambda entry: typed_values.make(Erasure, "An entry", entry),
        "erasures",
        "Put the file back.",
    )


def save(directory: pathlib.Path, erasures: list[Erasure]) -> None:
    """Write the erasures of a data directory."""
    entries = [dataclasses.asdict(entry) for entry in erasures]
    store.write_text(directory / FILE, json.dumps(entries, indent=1) + "\n")


def since(erasures: list[Erasure], fingerprint: str) -> list[Erasure]:
    """Return the erasures that an artefact has not been through.

    Args:
      erasures: of the data directory.
      fingerprint: the hash of users' ids in the artefact's manifest.
    """
    for i, erasure in enumerate(erasures):
        if fingerprint in erasure.former:
            return erasures[i:]
    return []
