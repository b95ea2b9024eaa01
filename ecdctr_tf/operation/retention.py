"""Delete what nothing needs any more: `--stage=clean`.

What stays is whole: with an artefact stays all that is reachable from it
(`needed`). These stay: the newest exported versions, what the levels go on
from, and the newest artefacts of each level, as many as `RetentionConfig` says.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from ecdctr_tf import config as configs
from ecdctr_tf import store
from ecdctr_tf.export import server_configs, versions
from ecdctr_tf.operation import needed
from ecdctr_tf.results import page, text
from ecdctr_tf.training import fit, workdir

_PROGRESS = ".progress"


@dataclasses.dataclass(frozen=True)
class Doomed:
    """What is to be deleted."""

    path: pathlib.Path
    why: str

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        if self.path.is_file():
            return self.path.stat().st_size
        files = (file for file in self.path.rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in files)


def clean(
    run: workdir.Workdir,
    export_dir: pathlib.Path,
    config: configs.Config,
    dry_run: bool = False,
) -> dict[Doomed, int]:
    """Delete what a run does not need and is not to keep.

    Each artefact disappears at once, and none before what was made from it. A
    command that is interrupted is finished by giving it again.

    Args:
      run: the work directory.
      export_dir: where its versions are served from; need not exist.
      config: says how much stays.
      dry_run: whether to delete nothing.

    Returns:
      What was deleted, or would be, in this order -> its bytes.

    Raises:
      FileNotFoundError: there is no work directory.
      ValueError: another process is writing there, or what lies there is no
        artefact. Nothing is deleted.
    """
    if not run.path.is_dir():
        raise FileNotFoundError(f"There is no work directory at {run.path}.")
    with contextlib.ExitStack() as locks:
        if not dry_run:
            directories = [p.path for p in needed.places(run)]
            if export_dir.is_dir():
                directories.append(export_dir)
            for directory in directories:
                locks.enter_context(store.lock(directory, "cleaning up"))
            if export_dir.is_dir():
                versions.finish(export_dir)
        there = needed.places(run)
        doomed = list(_doomed(run, there, export_dir, config))
        freed = {of: of.bytes for of in doomed}
        if not dry_run:
            _delete(doomed, there, export_dir)
    return freed


def _doomed(
    run: workdir.Workdir,
    there: Sequence[needed.Place],
    export_dir: pathlib.Path,
    config: configs.Config,
) -> Iterator[Doomed]:
    """Yield what is to be deleted, in this order."""
    keep = config.retention
    numbers = versions.numbers(export_dir)
    served = [export_dir / str(number) for number in numbers[-keep.exports :]]
    for number in numbers[: -keep.exports]:
        why = f"not among the newest {keep.exports} versions"
        yield Doomed(export_dir / str(number), why)
    kept = needed.reachable(
        [
            *served,
            *needed.to_go_on(run, there, config.history.snapshots),
            *(p for of in there for p in of.artefacts[-_count(of, keep) :]),
        ],
        there,
    )
    # A snapshot without its version would be aggregated again.
    snapshots = {
        path.name
        for place in there
        if place.name == "tpm"
        for path in kept.intersection(place.artefacts)
    }
    for place in there:
        count = _count(place, keep)
        why = f"not among the newest {count}, and nothing that stays needs it"
        for path in place.artefacts:
            again = place.name == "historical" and path.name in snapshots
            if path not in kept and not again:
                yield Doomed(path, why)
    yield from _leftovers(run, there, export_dir)


def _count(place: needed.Place, keep: configs.RetentionConfig) -> int:
    """Return how many of the newest artefacts of a place stay."""
    return {
        "ctr": keep.ctr,
        needed.LAUNCH: 1,
        "cpm": keep.cpm,
        "tpm": keep.snapshots,
        "historical": keep.historical,
    }[place.name]


def _leftovers(
    run: workdir.Workdir,
    there: Sequence[needed.Place],
    export_dir: pathlib.Path,
) -> Iterator[Doomed]:
    """Yield what killed commands left behind."""
    for place in there:
        progress = run.path / _PROGRESS / place.relative
        for state in fit.over(progress, place.days[-1]):
            yield Doomed(state, "a state of a window that was published")
    for directory in (*(place.path for place in there), export_dir):
        for path in store.leftovers(directory):
            yield Doomed(path, "left behind by a command that was killed")


def _delete(
    doomed: Sequence[Doomed],
    there: Sequence[needed.Place],
    export_dir: pathlib.Path,
) -> None:
    # Before they are missing, it is known that they are not missed.
    for place in there:
        gone = [of.path.name for of in doomed if of.path.parent == place.path]
        workdir.note_cleaned(place.path, [d for d in gone if d in place.days])
    gone = [of.path.name for of in doomed if of.path.parent == export_dir]
    kept = [n for n in versions.numbers(export_dir) if str(n) not in gone]
    if len(kept) < len(versions.numbers(export_dir)):
        # Servers hear of it before they lose a version.
        server_configs.write(export_dir, kept)
    for of in doomed:
        if of.path.is_dir():
            store.remove(of.path)
        else:
            of.path.unlink(missing_ok=True)


def show(
    freed: dict[Doomed, int], root: pathlib.Path, dry_run: bool = False
) -> None:
    """Print what was deleted, or would be.

    Args:
      freed: what `clean` returned.
      root: the work directory, which paths are shown relative to.
      dry_run: as of `clean`.
    """
    count = text.plural(len(freed), "artefact or leftover")
    total = f"{sum(freed.values()) / 1e6:,.1f} MB"
    said = f"{'would free' if dry_run else 'freed'} {total} of {count}"
    if not freed:
        print(f"{root}: nothing to delete")
        return
    rows = {}
    for of, size in freed.items():
        path = of.path
        if path.is_relative_to(root.resolve()):
            path = path.relative_to(root.resolve())
        rows[str(path)] = [of.why, f"{size / 1e6:,.1f}"]
    header = ["goes", "why", "MB"]
    page.print_table(f"{root}: {said}", header, rows, {}, [], "left")
