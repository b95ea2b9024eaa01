"""A data directory: days of rows of both domains, their spec and id spaces.

```
spec.json                        the DataSpec
former_specs.json                those of earlier days, where it has changed
ids/<table>.txt                  append-only vocabularies
natural/<day>/manifest.json      rows, hashes, sizes of the id spaces that day
natural/<day>/part-00000.tfrecord
natural/<day>/events.arrow       what the rows were made from, for `convert`
ads/<day>/...
summary.json, state/<last day>/  of the conversion; nothing here reads them
```
"""

import contextlib
import datetime
import functools
import logging
import pathlib
import tempfile
import typing
from collections.abc import (
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import (
    blocks,
    damage,
    day_checks,
    day_times,
    examples,
    former_specs,
    id_space,
    new_day,
)

SPEC, EVENTS = day_checks.SPEC, day_checks.EVENTS
IN_USE, SOURCES = new_day.IN_USE, new_day.SOURCES
# Inside, while days are exchanged; see `conversion.appending`.
PENDING = ".pending"
FORMATS = {"blocks": blocks, "examples": examples}


class ExchangedError(ValueError):
    """Days are being exchanged; they can be read when that is over."""

    # As `EX_TEMPFAIL` of sysexits.h: a scheduler tries again.
    exit_status = 75


def of_sources(
    manifest: store.Manifest,
) -> dict[str, dict[str, typing.Any]]:
    """Return what a natural day holds of each source, given its manifest.

    As `DataDirectory.of_sources`.
    """
    found = manifest.metrics.get(SOURCES)
    if found is None:
        clicks = manifest.metrics.get("clicks", 0)
        entry = {"rows": manifest.rows, "clicks": clicks, "weight": None}
        found = {features.UNKNOWN_SOURCE: entry} if manifest.rows else {}
    return found


class DataDirectory:
    """The days, rows and id spaces of a data directory.

    Args:
      path: the directory that `convert` or a builder wrote.
      damaged: what is done about a damaged file of rows: "fail", "skip_shard"
        leaves out the file, "skip_record" those of its records that are not
        whole. All counts are then those of the rows that are left.

    Raises:
      FileNotFoundError: there is no data directory at `path`.
      ExchangedError: days of it are being exchanged.
      ValueError: its spec is damaged.

    Example:
      >>> spec = ecdctr_tf.DataSpec(
      ...     tables=(
      ...         ecdctr_tf.TableSpec("user"),
      ...         ecdctr_tf.TableSpec("item"),
      ...     ),
      ...     features=(
      ...         ecdctr_tf.FeatureSpec("user_id", "id", "user", "user"),
      ...         ecdctr_tf.FeatureSpec("item_id", "id", "item", "item"),
      ...     ),
      ... )
      >>> spec.save("spec.json")
      >>> data = ecdctr_tf.DataDirectory(".")
      >>> rows = {
      ...     "user_id": np.array([1, 2], np.int32),
      ...     "item_id": np.array([1, 1], np.int32),
      ...     "click": np.array([0, 1]),
      ...     "timestamp": np.array([1_704_067_200, 1_704_067_260]),
      ... }
      >>> known = {"user": 3, "item": 2}
      >>> _ = data.write_day("ads", "2024-01-01", [rows], known)
      >>> data.rows("ads", data.window("ads"))
      2
    """

    def __init__(self, path: str | pathlib.Path, damaged: str = damage.FAIL):
        features.check_choice("A reader", "damaged", damaged, damage.POLICIES)
        self.path = pathlib.Path(path)
        self.damaged = damaged
        # Domain -> days whose rows count as none; see `as_of`.
        self.left_out: Mapping[str, Collection[str]] = {}
        if (self.path / PENDING).exists():
            raise ExchangedError(
                f"Days of {self.path} are being exchanged, or were when the "
                "command that does so was interrupted. Wait for it to finish, "
                "or run it again."
            )
        self.spec = features.DataSpec.load(self.path / SPEC)
        # Of earlier days, oldest first.
        self.former = former_specs.load(self.path)
        # All of them, by fingerprint.
        self.specs = {f.spec.fingerprint(): f.spec for f in self.former}
        self.specs[self.spec.fingerprint()] = self.spec
        self._manifests: dict[tuple[str, str], store.Manifest] = {}
        # The files of the days that were compared with their manifests.
        self._files: dict[tuple[str, str], list[pathlib.Path]] = {}
        self._skipped: dict[tuple[str, str], dict[str, typing.Any]] = {}

    @property
    def tables(self) -> dict[str, features.TableSpec]:
        """The tables by name, with those of earlier days only."""
        specs = [*(former.spec for former in self.former), self.spec]
        return {t.name: t for spec in reversed(specs) for t in spec.tables}

    @functools.cached_property
    def id_spaces(self) -> dict[str, id_space.IdSpace]:
        """The id spaces by table name, with those of earlier days only.

        Raises:
          FileNotFoundError, ValueError: a vocabulary is missing or damaged, or
            does not begin with the ids that the newest day was written with.
        """
        spaces = id_space.load(self.tables.values(), self.path)
        for domain in features.DOMAINS:
            for day in self.days(domain)[-1:]:
                for table, entry in self.manifest(domain, day).ids.items():
                    self._check_ids(spaces[table], entry, domain, day)
        return spaces

    def _check_ids(
        self,
        space: id_space.IdSpace,
        entry: dict[str, typing.Any],
        domain: str,
        day: str,
    ) -> None:
        """Raise a ValueError unless a day was written with an id space."""
        if "sha256" not in entry:  # Of an older version, or not by `convert`.
            return
        if space.rows < entry["rows"] or (
            space.fingerprint(entry["rows"]) != entry
        ):
            raise ValueError(
                f"{self.path / 'ids' / space.table.name}.txt is damaged: it "
                f"does not begin with the ids that {self.path / domain / day} "
                "was written with. Put the file back, or convert the logs "
                "again."
            )

    @functools.cached_property
    def zone(self) -> datetime.tzinfo | None:
        """The zone in which days are cut; None where it is not known.

        Raises:
          ValueError: the state of the conversion, which says it, is damaged.
        """
        return day_times.zone(self.path)

    def without(self, names: Iterable[str]) -> features.DataSpec:
        """Return the spec less the named features.

        Those that were removed from it are passed over.

        Raises:
          ValueError: as `DataSpec.without`.
        """
        own = {feature.name for feature in self.spec.features}
        ever = {f.name for spec in self.specs.values() for f in spec.features}
        return self.spec.without(n for n in names if n not in ever - own)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the natural sources, in the order of their numbers.

        They are numbered from 1. Empty if the logs do not say theirs.
        """
        days = self.days(features.NATURAL)
        return self.sources_until(days[-1]) if days else ()

    def sources_until(self, day: str) -> tuple[str, ...]:
        """Return the names of the sources when a natural day was written."""
        manifest = self.manifest(features.NATURAL, day)
        return tuple(manifest.config.get(SOURCES, ()))

    def of_sources(self, day: str) -> dict[str, dict[str, typing.Any]]:
        """Return what a natural day holds of each source.

        Returns:
          Source -> `rows`, `clicks` and `weight` (the sum over the rows, None
          where the day was written before there were sources). Rows whose
          source is not known are of `features.UNKNOWN_SOURCE`; sources without
          rows are left out.
        """
        return of_sources(self.manifest(features.NATURAL, day))

    def days(self, domain: str) -> list[str]:
        """Return the days there are of a domain ("natural" or "ads")."""
        return store.dated(self.path / domain, "day")

    def window(self, domain: str) -> windows.Window:
        """Return the window from the first to the last day of a domain."""
        days = self.days(domain)
        if not days:
            raise FileNotFoundError(f"{self.path / domain} holds no days.")
        return windows.Window(days[0], days[-1])

    def check_days(self) -> None:
        """Make sure that no day is missing between others of its domain.

        Raises:
          ValueError: one is; days without rows would be there, too.
        """
        for domain in features.DOMAINS:
            days = self.days(domain)
            every = windows.Window(days[0], days[-1]).days if days else []
            lost = min(set(every) - set(days), default="")
            if lost:
                raise ValueError(
                    f"{self.path / domain} lacks {lost}, and days without rows "
                    "are there, too. Put the day back, or take all later ones "
                    f"out with --drop_from={lost} and append them again."
                )

    def days_with_rows(self, domain: str) -> list[str]:
        """Return the days of a domain that hold rows.

        Raises:
          FileNotFoundError: there are none.
          ValueError: as `manifest`.
        """
        days = [d for d in self.days(domain) if self.manifest(domain, d).rows]
        if not days:
            raise FileNotFoundError(
                f"{self.path / domain} holds no rows, in none of its days. "
                "Look at what `convert` was given, and append days with rows."
            )
        return days

    def manifest(self, domain: str, day: str) -> store.Manifest:
        """Return the manifest of a day, compared with where the day lies.

        Its files are not read; `files` compares them with the manifest. Where
        damaged files are skipped, they are read, and the manifest counts the
        rows that are left.

        Raises:
          FileNotFoundError: the day is missing.
          ValueError: the day is another one, of another domain, made by a
            spec that the directory never had or of an unknown format, lacks a
            file, or its counts are impossible.
        """
        if (domain, day) not in self._manifests:
            path = self.path / domain / day
            manifest = store.read_manifest(path, "day")
            day_checks.check(path, manifest, self.specs, self.tables, FORMATS)
            if self.damaged != damage.FAIL:
                manifest = self._left(manifest, domain, day)
            self._manifests[domain, day] = manifest
        return self._manifests[domain, day]

    def files(self, domain: str, day: str) -> list[pathlib.Path]:
        """Return the files of a day, in order, compared with its manifest.

        Their hashes, the number of their rows and the times of these are
        compared, once a day.

        Raises:
          FileNotFoundError: the day or one of its files is missing.
          ValueError: as `manifest`, or a file was cut or damaged, or the files
            hold more or fewer rows than the manifest says, or some of another
            day.
        """
        manifest = self.manifest(domain, day)
        if (domain, day) not in self._files:
            path = self.path / domain / day
            names = day_checks.shards(manifest)
            store.verify(path, "day", names)
            files = [path / name for name in names]
            self._check_rows(manifest, path, files)
            self._files[domain, day] = files
        return self._files[domain, day]

    def _check_rows(
        self,
        manifest: store.Manifest,
        path: pathlib.Path,
        files: list[pathlib.Path],
    ) -> None:
        """Raise a ValueError unless files hold the rows of a day, all of it."""
        file_format = FORMATS[manifest.config["format"]]
        day = path.name
        held = sum(
            day_times.rows(file, file_format, day, self.zone) for file in files
        )
        if held != manifest.rows:
            raise ValueError(
                f"The manifest of {path} says {manifest.rows} rows, but "
                f"its files hold {held}. {day_checks.rebuild(path)}"
            )

    def _left(
        self, manifest: store.Manifest, domain: str, day: str
    ) -> store.Manifest:
        """Return the manifest of a day less the rows that cannot be read."""
        path = self.path / domain / day
        salvage = None
        if self.damaged == damage.SKIP_RECORD:
            salvage = pathlib.Path(self._salvage.name) / domain / day
        left = damage.readable(
            path,
            manifest,
            day_checks.shards(manifest),
            FORMATS[manifest.config["format"]],
            salvage,
        )
        self._check_rows(left.manifest, path, left.files)
        self._files[domain, day] = left.files
        if left.damaged:
            self._skipped[domain, day] = left.lost | {
                "files": sorted(left.damaged)
            }
            logging.warning(
                "%s rows with %s clicks of %s %s are left out (damaged=%s): %s",
                f"{left.lost['rows']:,}",
                f"{left.lost['clicks']:,}",
                domain,
                day,
                self.damaged,
                " ".join(left.damaged.values()),
            )
        return left.manifest

    @functools.cached_property
    def _salvage(self) -> tempfile.TemporaryDirectory[str]:
        """Where whole records of damaged files are, as long as this object."""
        return tempfile.TemporaryDirectory(prefix="ecdctr_tf-")

    def skipped(
        self, parts: Mapping[str, windows.Window]
    ) -> dict[str, dict[str, typing.Any]]:
        """Return what is left out of days because it is damaged.

        Args:
          parts: domain -> its days.

        Returns:
          `<domain>/<day>` -> `rows`, `clicks` and `files` that are left out;
          days that are whole are not in it.
        """
        return {
            f"{domain}/{day}": self._skipped[domain, day]
            for domain, window in parts.items()
            for day in window.days
            if (domain, day) in self._skipped
        }

    def losses(self) -> list[str]:
        """Return a sentence for each day of which rows are lost or skipped."""
        said = []
        for domain in features.DOMAINS:
            for day in self.days(domain):
                lost = self.manifest(domain, day).metrics.get(damage.LOST, {})
                skipped = self._skipped.get((domain, day), {})
                rows, clicks = (
                    lost.get(name, 0) + skipped.get(name, 0)
                    for name in ("rows", "clicks")
                )
                if rows:
                    said.append(
                        f"{rows:,} rows with {clicks:,} clicks of {domain} "
                        f"{day} were damaged and are left out."
                    )
        return said

    def covered(self, domain: str, window: windows.Window) -> list[str]:
        """Return the days of a window.

        Raises:
          ValueError: a day of the window is missing from the domain.
        """
        have = self.days(domain)
        missing = sorted(set(window.days) - set(have))
        if missing:
            there = f"{have[0]}..{have[-1]}" if have else "no days"
            raise ValueError(
                f"{self.path / domain} lacks {', '.join(missing[:5])} of the "
                f"window {window}; it has {there}."
            )
        return window.days

    def rows(self, domain: str, window: windows.Window) -> int:
        """Return the number of rows of a window, as its manifests say."""
        return sum(
            self.manifest(domain, day).rows
            for day in self.covered(domain, window)
        )

    def table_rows(self, day: str) -> dict[str, int]:
        """Return the rows of each table in use at the end of a day.

        Ids first seen later have larger rows, which a model of that day does
        not know. A day of either domain counts.
        """
        rows = {name: table.buckets for name, table in self.tables.items()}
        for domain in features.DOMAINS:
            known = [d for d in self.days(domain) if d <= day]
            if known:
                ids = self.manifest(domain, known[-1]).ids
                for table, entry in ids.items():
                    rows[table] = max(rows[table], int(entry["rows"]))
        return rows

    def write_day(
        self,
        domain: str,
        day: str,
        parts: Iterable[dict[str, typing.Any]],
        table_rows: dict[str, int],
        file_format: str = "blocks",
        sources: Sequence[str] = (),
    ) -> store.Manifest:
        """Publish a day of rows.

        Args:
          domain: "natural" or "ads".
          day: the day.
          parts: one dict of columns a file, as `blocks.write` takes them.
          table_rows: rows of each table that are known at the end of the day.
          file_format: "blocks" or "examples".
          sources: names of the natural sources, in the order of the numbers in
            the column `features.SOURCE`; those of earlier days come first.

        Raises:
          FileExistsError: the day was published before.
          ValueError: there is no such domain or format, or a column is missing.
        """
        with self.writing(domain, day, file_format, sources) as new:
            for number, rows in enumerate(parts):
                new.write(number, rows)
            new.know(table_rows, table_rows)
        return new.manifest

    @contextlib.contextmanager
    def writing(
        self,
        domain: str,
        day: str,
        file_format: str,
        sources: Sequence[str] = (),
    ) -> Iterator[new_day.NewDay]:
        """Give a day to write, which is published on leaving.

        Args and Raises: as of `write_day`.
        """
        for name, value, choices in (
            ("domain", domain, features.DOMAINS),
            ("file_format", file_format, FORMATS),
        ):
            if value not in choices:
                raise ValueError(
                    f"`{name}` should be one of {', '.join(choices)}. "
                    f"Received: {value!r}"
                )
        manifest = store.Manifest(
            kind="day",
            window=windows.Window(day, day),
            spec=self.spec.fingerprint(),
        )
        manifest.config = {"format": file_format, "domain": domain, "shards": 0}
        manifest.metrics = {"clicks": 0}
        with store.publish(self.path / domain / day, manifest) as staging:
            write = FORMATS[file_format].write
            yield new_day.NewDay(staging, manifest, self.spec, write, sources)
