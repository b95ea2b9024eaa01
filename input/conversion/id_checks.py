"""Checks of the ids of a whole conversion: those that look like one another."""

import logging
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ecdctr_tf.input import id_space
from ecdctr_tf.input.conversion import ids, toml_spec

# Pairs of ids that a summary shows.
SHOWN = 20


def found(
    spec: toml_spec.ConversionSpec, spaces: Mapping[str, id_space.IdSpace]
) -> dict:
    """Return what the summary says of ids.

    Args:
      spec: of the conversion.
      spaces: the id spaces by table, with the ids of all days.

    Returns:
      `crossings`: table -> number of ids that are in several id spaces;
      `alike`: table -> pairs of texts that seem to be one id, the first of
      them.

    Raises:
      ValueError: two users or items seem to be one, written in two ways.
    """
    warn_of_defaults(spec, spaces)
    crossings: dict[str, int] = {}
    alike: dict[str, list] = {}
    for table, space in spaces.items():
        if not isinstance(space, id_space.Vocabulary):
            continue
        if space.table.dtype != "string":
            continue
        known = space.entries.drop_null()
        names = spec.foreign_spaces(table)
        if names:
            crossings[table] = _crossings(known, names)
        pairs = ids.alike(known)
        if pairs:
            reject_alike(spec, table, pairs[0], len(pairs))
            alike[table] = [list(pair) for pair in pairs[:SHOWN]]
    return {"crossings": crossings, "alike": alike}


def reject_alike(
    spec: toml_spec.ConversionSpec,
    table: str,
    pair: Sequence[str],
    count: int,
) -> None:
    """Raise a ValueError if ids that seem to be one are users or items.

    Args:
      spec: of the conversion.
      table: the table of the ids.
      pair: the first two of them.
      count: how many pairs there are.
    """
    roles = [r for r in (spec.user, spec.item) if _table(spec, r) == table]
    if roles:
        raise ValueError(
            f"The ids {pair[0]!r} and {pair[1]!r} of the feature "
            f"{roles[0]!r} seem to be one, written in two ways; so are "
            f"{count - 1} further pairs. Write them alike in all "
            f'logs, or set `dtype = "int64"` of the table {table!r} if '
            "they are numbers."
        )


def warn_of_defaults(
    spec: toml_spec.ConversionSpec, spaces: Mapping[str, id_space.IdSpace]
) -> None:
    """Warn of positions that requests are scored at and that no row has."""
    for feature in spec.features:
        space = spaces.get(feature.table)
        if feature.default is None or not isinstance(
            space, id_space.Vocabulary
        ):
            continue
        if feature.default not in space.ids[:].tolist():
            logging.warning(
                "No row has the position %r, the `default` of %r that requests "
                "are scored at. Positions are such as %s.",
                feature.default,
                feature.name,
                ", ".join(map(str, space.ids[:5])),
            )


def _table(spec: toml_spec.ConversionSpec, role: str) -> str:
    return spec.column(role).table


def _crossings(known: pa.Array, names: list[str]) -> int:
    """Return how many ids are in several id spaces."""
    pattern = f"^({'|'.join(names)}){ids.SPACE}"
    bare = pc.replace_substring_regex(known, pattern, "")
    counts = pc.value_counts(bare).field("counts")
    return pc.sum(pc.greater(counts, 1)).as_py() or 0
