"""Days whose table rows have new numbers; nothing else of them changes."""

import dataclasses
import pathlib

import numpy as np

from ecdctr_tf import features, kinds, store
from ecdctr_tf.input import data_directory, day_checks, expired, id_space
from ecdctr_tf.input.conversion import day_rows

# In the metrics of a manifest: when ids expired last.
EXPIRED = "expired"


class Days:
    """The days of a data directory, from which ids expire.

    Args:
      data: the data directory.
      tables: table -> new numbers of its rows.
      spaces: table -> its vocabulary with these numbers.
      date: of the expiry.
    """

    def __init__(
        self,
        data: data_directory.DataDirectory,
        tables: dict[str, expired.Renumbering],
        spaces: dict[str, id_space.Vocabulary],
        date: str,
    ):
        self._data = data
        self._tables = tables
        self._spaces = spaces
        self._date = date

    def entries(self, ids: dict[str, dict]) -> dict[str, dict]:
        """Return what manifests say of ids, with the new numbers."""
        return {name: self._entry(name, of) for name, of in ids.items()}

    def _entry(self, table: str, entry: dict) -> dict:
        if table not in self._tables:
            return entry
        rows = self._tables[table].count(int(entry["rows"]))
        if "sha256" not in entry:
            return {"rows": rows}
        return self._spaces[table].fingerprint(rows)

    def write(self, domain: str, day: str, target: pathlib.Path) -> None:
        """Write a day with the new numbers.

        Args:
          domain: of the day.
          day: the day.
          target: its place in a staging directory. Where a day is what it was,
            nothing is written.
        """
        manifest = self._data.manifest(domain, day)
        new = dataclasses.replace(
            manifest,
            ids=self.entries(manifest.ids),
            config=self._config(manifest.config),
            files={},
            metrics={**manifest.metrics, EXPIRED: self._date},
        )
        if new.ids == manifest.ids and new.config == manifest.config:
            return  # No row that it knows is gone, or behind one that is.
        spec = self._data.specs[manifest.spec]
        file_format = data_directory.FORMATS[manifest.config["format"]]
        with store.publish(target, new) as staging:
            for file in self._data.files(domain, day):
                columns = day_rows.columns(file, manifest, spec)
                changed = renumbered(spec, columns, self._tables)
                if changed:
                    columns |= changed
                    file_format.write(staging / file.name, columns, spec)
                else:
                    store.link(file, staging / file.name)
            name = day_checks.EVENTS
            if name in manifest.files:
                path = self._data.path / domain / day
                store.verify(path, "day", [name])
                store.link(path / name, staging / name)

    def _config(self, config: dict) -> dict:
        """Return the config of a day; one that came late says more of rows."""
        in_use = config.get(data_directory.IN_USE)
        if in_use is None:
            return config
        new = {
            name: self._tables[name].count(rows)
            if name in self._tables
            else rows
            for name, rows in in_use.items()
        }
        return {**config, data_directory.IN_USE: new}


def renumbered(
    spec: features.DataSpec,
    columns: dict[str, np.ndarray],
    tables: dict[str, expired.Renumbering],
) -> dict[str, np.ndarray]:
    """Return the columns of table rows that change, with the new numbers.

    Args:
      spec: of the columns.
      columns: as batches hold them; those of features may be missing.
      tables: table -> new numbers of its rows.
    """
    new = {}
    for feature in kinds.of(spec):
        for name, table in feature.id_columns().items():
            if table in tables and name in columns:
                found = tables[table].renumbered(columns[name])
                if not np.array_equal(found, columns[name]):
                    new[name] = found
    return new
