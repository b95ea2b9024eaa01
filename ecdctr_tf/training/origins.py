"""Where an A-CTR's weights come from: one idea in four forms.

| origin         | first weights                    | a newer CPM              |
|----------------|----------------------------------|--------------------------|
| `scratch`      | the seed; tables from the TPM    |                          |
| `from_cpm`     | the newest CPM                   | its change is added, or  |
|                |                                  | the A-CTR starts again   |
| `beside_cpm`   | the CPM's or the seed; the CPM   | takes the older one's    |
|                | is frozen beside the model       | place beside the model   |
| `both_domains` | the seed, then natural days      |                          |

An A-CTR never goes back to an older CPM than the one it has.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Callable

from ecdctr_tf import artefacts, model_table, store, windows
from ecdctr_tf.layers.table_embedding import TableEmbedding
from ecdctr_tf.training import unseen, workdir
from ecdctr_tf.training.level import ADS, NATURAL, Level
from ecdctr_tf.transfer import (
    checkpoint,
    historical,
    refresh,
    warm_start,
)


class Scratch:
    """The A-CTR starts from the seed, its tables from the TPM if asked for."""

    # Domains that the model is trained on.
    domains: tuple[str, ...] = (ADS,)
    # Gives the level's weights of before the last refresh a part of the change,
    # instead of what they have now; None where no part is to be judged.
    take: Callable[[refresh.Strength], None] | None = None

    def __init__(self, level: Level):
        """Keep the level."""
        self.level = level

    def first_days(self, day: str) -> dict[str, windows.Window]:
        """Return the days before a day that a new A-CTR is trained on first.

        Returns:
          Domain -> days; domains without any are left out.
        """
        config = self.level.config
        days = max(
            config.schedule.catch_up_days, config.warm_start.warm_up_days
        )
        return self._past(day, {ADS: days})

    def _past(
        self, day: str, days: dict[str, int]
    ) -> dict[str, windows.Window]:
        """Return the days there are among the last ones before a day."""
        found = {}
        for domain, count in days.items():
            past = past_days(self.level, domain, day, count)
            if past:
                found[domain] = windows.Window(past[0], past[-1])
        return found

    def cpm(self, day: str) -> pathlib.Path | None:
        """Return the CPM that scores a day, or None."""
        del day
        return None

    def before_build(self, day: str) -> None:
        """Prepare what a fresh level is built with."""
        del day

    def start(self, day: str) -> None:
        """Give a fresh level its first weights."""
        if self.level.config.history.starts_tables:
            self.level.start_tables(day)

    def restarts(self, day: str) -> bool:
        """Return whether the A-CTR is to be started again before a day."""
        del day
        return False

    def open(self, path: pathlib.Path) -> None:
        """Go on from a published day."""
        self.level.open(path)

    def refresh(self, day: str) -> bool:
        """Take over what a newer CPM has learned; return whether one had."""
        del day
        return False


class FromCPM(Scratch):
    """The A-CTR starts from the newest CPM and takes over its changes."""

    # The day that was asked for last, and its CPM.
    _chosen: tuple[str, pathlib.Path | None] = ("", None)

    def cpm(self, day: str) -> pathlib.Path | None:
        """Return the CPM that scores a day.

        A day has one CPM, also where another is published meanwhile: weights
        and merged historical tables come from the same.

        Raises:
          FileNotFoundError: there is none, or the one that the A-CTR has is
            gone.
          ValueError: it has seen the day, or the one that the A-CTR has was
            replaced.
        """
        if self._chosen[0] != day:
            self._chosen = day, self._choose(day)
        return self._chosen[1]

    def _choose(self, day: str) -> pathlib.Path | None:
        level = self.level
        known = self._known()
        late = level.config.schedule.cpm_lag
        until = windows.plus(day, -late)
        directory = level.run.cpm(level.row.base)
        newest = workdir.newest_before(directory, until)
        if newest is not None:
            manifest = store.read_manifest(newest, artefacts.CPM)
            historical.check_before(manifest, day, newest)
        if known is None:
            if newest is None:
                raise FileNotFoundError(
                    f"{directory} holds no CPM from before {until}. Train one "
                    "with `python train_main.py --stage=cpm`."
                )
            return newest
        if newest is None or newest.name < known.name:
            logging.warning(
                "The A-CTR keeps the CPM of %s for %s, although "
                "schedule.cpm_lag=%d would give it an older one (%s).",
                known.name,
                day,
                late,
                newest.name if newest is not None else "none",
            )
            return known
        return newest

    def _known(self) -> pathlib.Path | None:
        """Return the CPM that the A-CTR has, which has to be the same still."""
        level = self.level
        if level.last is None or artefacts.CPM not in level.parents:
            return None
        manifest = store.Manifest(level.kind, parents=level.parents)
        place = level.directory / level.last.name
        resolved = artefacts.parent_path(place, manifest, artefacts.CPM)
        return level.run.cpm(level.row.base) / resolved.name

    def start(self, day: str) -> None:
        """Give a fresh level the weights of the newest CPM.

        Raises:
          FileNotFoundError, ValueError: the CPM is missing, damaged, of another
            id space, data spec or network, or too little of it fits.
        """
        self._take(self.cpm(day), _weights_of_no_cpm(self.level))

    def _take(self, cpm: pathlib.Path, allow_new: tuple[str, ...]) -> None:
        level = self.level
        settings = level.config.warm_start
        values = _weights(level, cpm)
        # Those of features that were added since.
        tables = (t for t in _embeddings(level) if t not in values)
        report = warm_start.restore(
            artefacts.weights(level.model),
            values,
            f"{cpm.parent.parent.name}/{cpm.parent.name}/{cpm.name}",
            settings.batch_norm,
            (*allow_new, *tables),
        )
        report = dataclasses.replace(report, unseen=unseen.start(level.model))
        of_cpm = (v for v in report.variables if v.status != warm_start.NEW)
        report_of_cpm = dataclasses.replace(report, variables=tuple(of_cpm))
        share = report_of_cpm.restored_share
        if share < settings.min_restored:
            raise ValueError(
                f"Only {share:.0%} of the A-CTR's weights came from {cpm}; "
                "warm_start.min_restored asks for "
                f"{settings.min_restored:.0%}. Train both with the same "
                "model.* settings, or lower warm_start.min_restored."
            )
        level.report = report
        level.add_parent(artefacts.CPM, cpm)

    def restarts(self, day: str) -> bool:
        """Return whether a newer CPM is there and is to be started from."""
        if self.level.config.warm_start.refresh != "restart":
            return False
        return self._newer(day) is not None

    def _newer(self, day: str) -> pathlib.Path | None:
        """Return the CPM for a day if the A-CTR has an older one."""
        cpm = self.cpm(day)
        return cpm if cpm != self._known() else None

    def refresh(self, day: str) -> bool:
        """Add to the A-CTR what the CPM has learned since the one it has."""
        level, old, new = self.level, self._known(), self._newer(day)
        self.take = None
        if new is None:
            return False
        rows = {"own": dict(level.table_rows)}
        values = {}
        for name, cpm in (("old", old), ("new", new)):
            values[name] = _weights(level, cpm)
            manifest = store.read_manifest(cpm, artefacts.CPM)
            rows[name] = dict.fromkeys(level.table_rows, 0)
            rows[name] |= artefacts.table_rows(manifest)
        level.grow({**level.table_rows, **rows["new"]})
        _start_as(level, new)
        tables = {
            path: refresh.TableRows(
                rows["old"][table.name],
                rows["new"][table.name],
                rows["own"][table.name],
                table.initial_rows,
            )
            for path, table in _embeddings(level).items()
        }
        for path, table in _embeddings(level).items():
            # Of a table that a CPM lacks, it knows no row.
            values["new"].setdefault(path, table.embeddings.numpy())
            values["old"].setdefault(path, values["new"][path])

        def add(strength: refresh.Strength) -> None:
            level.report = refresh.add_change(
                artefacts.weights(level.model),
                values["new"],
                values["old"],
                tables,
                f"{new.parent.parent.name}/{new.parent.name}/"
                f"{old.name}..{new.name}",
                strength,
            )

        if level.config.warm_start.refresh == "evidence":
            kept = level.values()

            def take(strength: refresh.Strength) -> None:
                level.assign(kept)
                add(strength)

            self.take = take
            add(level.evidence.strength)
        else:
            add(refresh.Strength())
        level.add_parent(artefacts.CPM, new)
        return True


class BesideCPM(FromCPM):
    """The newest CPMs are frozen beside the A-CTR, which reads them.

    A published day names them as its parents, by path and hash, and goes on
    from these very ones. Newer CPMs take the place of the older ones; the
    A-CTR's own weights and optimizer state stay.
    """

    def start(self, day: str) -> None:
        """Start the weights that a CPM has too, if the model asks for it."""
        level = self.level
        if level.model.starts_from_source:
            self._take(self.cpm(day), _weights_of_no_cpm(level))

    def before_build(self, day: str) -> None:
        """Freeze the CPMs that a fresh level will read."""
        self._freeze(self.cpm(day))

    def _freeze(self, newest: pathlib.Path) -> None:
        """Let models that are built from now on read a CPM and those before."""
        level = self.level
        days = [d for d in store.dated(newest.parent) if d <= newest.name]
        level.sources = []
        for age, day in enumerate(reversed(days[-level.row.cpms :])):
            path = newest.parent / day
            level.sources.append(
                artefacts.read_cpm(
                    path, level.data, level.row, level.config, level.spec
                )
            )
            level.add_parent(artefacts.cpm_role(age), path)

    def restarts(self, day: str) -> bool:
        """Return False: a newer CPM takes the place of the older one."""
        del day
        return False

    def open(self, path: pathlib.Path) -> None:
        """Go on from a published day, beside the CPMs that it names."""
        level = self.level
        manifest = store.read_manifest(path, artefacts.CTR)
        level.sources = artefacts.frozen(
            path, manifest, level.data, level.row, level.config, level.spec
        )
        level.open(path)

    def refresh(self, day: str) -> bool:
        """Exchange the frozen CPMs for newer ones."""
        new = self._newer(day)
        if new is None:
            return False
        self._freeze(new)
        self.level.rebuild()
        return True


class BothDomains(Scratch):
    """One model learns natural logs and ads together; there is no CPM."""

    domains = (NATURAL, ADS)

    def first_days(self, day: str) -> dict[str, windows.Window]:
        """Return the natural days and the ads that a new model starts with.

        Raises:
          ValueError: there are no natural days before the day.
        """
        schedule = self.level.config.schedule
        found = self._past(
            day, {NATURAL: schedule.cpm_days, ADS: schedule.catch_up_days}
        )
        if NATURAL not in found:
            raise ValueError(
                f"{self.level.data.path / NATURAL} has none of the "
                f"{schedule.cpm_days} days before {day}, which the model "
                "starts with. Raise schedule.cpm_days, or set a later "
                "schedule.ctr_first."
            )
        return found


ORIGINS: dict[str, type[Scratch]] = {
    model_table.SCRATCH: Scratch,
    model_table.FROM_CPM: FromCPM,
    model_table.BESIDE_CPM: BesideCPM,
    model_table.BOTH_DOMAINS: BothDomains,
}


def past_days(level: Level, domain: str, day: str, days: int) -> list[str]:
    """Return the days there are among the last `days` before one."""
    first = windows.plus(day, -days)
    return [d for d in level.data.days(domain) if first <= d < day]


def _weights(level: Level, cpm: pathlib.Path) -> dict:
    """Return the weights of a CPM, less what is merged for the A-CTR.

    They are those of the features that there are now, less the tables that the
    CPM lacks. What was 0 in all its rows has no effect.
    """
    manifest = artefacts.verified(cpm, artefacts.CPM, level.data)
    written = level.data.specs[manifest.spec]
    if written == level.spec:
        values = checkpoint.read(cpm / artefacts.WEIGHTS)
    else:
        values = level.carrier(written, artefacts.CPM, cpm).weights(cpm)
        for path, table in _embeddings(level).items():
            if table.name not in manifest.ids:
                del values[path]
    _start_as(level, cpm)
    values = unseen.without_unseen(level.model, values)
    return {
        name: value
        for name, value in values.items()
        if historical.SELF_ATTENTION not in name.split("/")
    }


def _start_as(level: Level, cpm: pathlib.Path) -> None:
    """Let tables say of rows what they started with in a CPM."""
    numbers = artefacts.first_rows(cpm)
    for table in _embeddings(level).values():
        table.first_rows = numbers.get(table.name)


def _embeddings(level: Level) -> dict[str, TableEmbedding]:
    """Return the tables of a level by the path of their weights."""
    tables = level.model.embedding.tables
    return {f"embedding/tables/{n}/embeddings": t for n, t in tables.items()}


def _weights_of_no_cpm(level: Level) -> tuple[str, ...]:
    """Return the beginnings of the names of weights that no CPM has."""
    if not level.sources:
        return ()
    of_cpm = level.sources[0].parts()
    return tuple(
        f"{name}/" for name in level.model.parts() if name not in of_cpm
    )
