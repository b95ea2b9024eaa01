"""What a work directory remembers of erasures and expiries."""

import pathlib
import typing

from ecdctr_tf import store, typed_values

Entry = dict[str, typing.Any]


def read(file: pathlib.Path, what: str) -> list[Entry]:
    """Return the entries of a record, oldest first.

    Args:
      file: the record; need not exist.
      what: it holds, for errors.

    Raises:
      ValueError: it is damaged.
    """

    def entry(found: Entry) -> Entry:
        typed_values.check("An entry", dict, found)
        return found

    return typed_values.read_list(file, entry, what, "Put the file back.")


def write(file: pathlib.Path, entries: list[Entry]) -> None:
    """Write the entries of a record."""
    store.write_text(file, typed_values.to_json(entries, f"{file.name}"))
