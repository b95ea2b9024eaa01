"""What a work directory cannot do without: what is served, what goes on.

An artefact is reachable from another one that names it as a parent, or that
names one from which it is reachable. The role `last` does not count: a level
holds all that the artefact had learned that it went on from, and nothing reads
that one again.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping

from ecdctr_tf import artefacts, model_table, store, windows
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import historical

LAUNCH = "launch"
# Name of a directory of artefacts -> the kind that it holds, in the order in
# which they may be deleted: what is made of others comes first. A version whose
# snapshot is there would be made again, so the snapshot goes first.
KINDS = {
    "ctr": artefacts.CTR,
    LAUNCH: artefacts.CTR,
    "cpm": artefacts.CPM,
    "tpm": artefacts.TPM,
    "historical": historical.KIND,
}
_EVER = "9999-12-31"


@dataclasses.dataclass(frozen=True)
class Place:
    """A directory of a work directory, and the artefacts in it."""

    # Without symbolic links, as those of parents.
    path: pathlib.Path
    # Relative to the work directory.
    relative: pathlib.Path
    # A key of `KINDS`.
    name: str
    # In order.
    days: tuple[str, ...]

    @property
    def artefacts(self) -> list[pathlib.Path]:
        """The artefacts, oldest first."""
        return [(self.path / day).resolve() for day in self.days]

    @property
    def model(self) -> str:
        """The model whose level it is; empty for the TPM."""
        return self.relative.parent.name

    @functools.cached_property
    def newest(self) -> store.Manifest:
        """The manifest of the newest one, of which there has to be one."""
        return store.read_manifest(self.artefacts[-1], KINDS[self.name])


def places(run: Workdir) -> list[Place]:
    """Return the places of a work directory that hold artefacts.

    They are in the order of `KINDS`, mixtures before their experts.

    Raises:
      ValueError: a directory in one of them is not an artefact.
    """
    root = run.path
    found = []
    for name in KINDS:
        # There is one TPM; `tensorboard/tpm` holds no artefacts.
        of_models = [] if name == "tpm" else root.glob(f"*/{name}")
        for path in sorted([*root.glob(name), *of_models]):
            days = tuple(store.dated(path))
            if days:
                relative = path.relative_to(root)
                found.append(Place(path.resolve(), relative, name, days))
    mixed = [place for place in found if _experts(place)]
    return [*mixed, *(p for p in found if p not in mixed)]


def to_go_on(
    run: Workdir, there: Iterable[Place], snapshots: int
) -> set[pathlib.Path]:
    """Return what the next windows of all levels begin with.

    Args:
      run: the work directory.
      there: its places.
      snapshots: K, how many of the newest snapshots a version is made of.
    """
    by_name: dict[str, list[Place]] = {name: [] for name in KINDS}
    for place in there:
        by_name[place.name].append(place)
    needed = {place.artefacts[-1] for place in there}
    needed |= _cpms(run, by_name["cpm"], by_name["ctr"])
    needed |= _of_experts(by_name["ctr"])
    readers = [*by_name["cpm"], *by_name["ctr"]]
    for place in by_name["historical"]:
        needed |= _versions(place, readers, bool(by_name["cpm"]))
        snapshots = max(snapshots, place.newest.config.get("snapshots", 1))
    for place in by_name["tpm"]:
        needed |= _snapshots(place, by_name["historical"], snapshots)
        if not by_name["cpm"]:
            needed |= set(place.artefacts)  # One of them starts its tables.
    return needed


def reachable(
    roots: Iterable[pathlib.Path], there: Iterable[Place]
) -> set[pathlib.Path]:
    """Return artefacts, and all that is reachable from them and there.

    Parents are found by their hashes, too: an exported version may have been
    moved elsewhere.

    Args:
      roots: the artefacts.
      there: the places of the work directory.
    """
    by_hash = {
        store.file_hash(path / store.MANIFEST): path
        for place in there
        for path in place.artefacts
    }
    found: set[pathlib.Path] = set()
    left = [path.resolve() for path in roots]
    while left:
        path = left.pop()
        if path in found or not (path / store.MANIFEST).is_file():
            continue
        found.add(path)
        for role, entry in store.read_manifest(path).parents.items():
            if role != "last":
                left.append((path / entry["path"]).resolve())
                left += filter(None, [by_hash.get(entry["manifest"])])
    return found


def _cpms(
    run: Workdir, cpms: Iterable[Place], readers: Iterable[Place]
) -> set[pathlib.Path]:
    """Return the CPMs that an A-CTR has or has not taken yet."""
    needed: set[pathlib.Path] = set()
    for place in cpms:
        taken = [
            pathlib.Path(reader.newest.parents[artefacts.CPM]["path"]).name
            for reader in readers
            if artefacts.CPM in reader.newest.parents
            and _reads(run, reader, place)
        ]
        since = min(taken, default="")
        needed |= {path for path in place.artefacts if path.name >= since}
    return needed


def _reads(run: Workdir, reader: Place, cpm: Place) -> bool:
    if reader.model not in model_table.MODELS:
        return False
    return run.cpm(reader.model) == run.path / cpm.relative


def _experts(place: Place) -> tuple[str, ...]:
    """Return the experts of a mixture; none of another model."""
    row = model_table.MODELS.get(place.model)
    return row.experts if row and place.name == "ctr" else ()


def _of_experts(readers: Iterable[Place]) -> set[pathlib.Path]:
    """Return the days of experts that a mixture has not mixed yet."""
    by_model: Mapping[str, Place] = {place.model: place for place in readers}
    return {
        path
        for mixture in by_model.values()
        for name in _experts(mixture)
        if name in by_model
        for path in by_model[name].artefacts
        if path.name > mixture.days[-1]
    }


def _versions(
    place: Place, readers: Iterable[Place], launched: bool
) -> set[pathlib.Path]:
    """Return the versions that rows of days to come may see.

    Args:
      place: where they are.
      readers: the levels that look them up.
      launched: whether there is a CPM; before that, all may be looked up.
    """
    if not launched:
        return set(place.artefacts)
    needed: set[str] = set()
    for reader in readers:
        config = artefacts.read_config(reader.artefacts[-1])
        if not config.model.history:
            continue
        past = 0
        if reader.name == "ctr":  # Days that are gone through again.
            past = max(
                config.ctr.replay_days,
                config.schedule.catch_up_days,
                config.warm_start.warm_up_days,
            )
        first = windows.plus(reader.newest.window.last, 1 - past)
        seen = historical.seen_in(
            list(place.days), windows.Window(first, _EVER), config.history
        )
        needed |= set(seen)
    return {path for path in place.artefacts if path.name in needed}


def _snapshots(
    place: Place, versions: Iterable[Place], count: int
) -> set[pathlib.Path]:
    """Return the snapshots that versions to come are made of.

    Args:
      place: where they are.
      versions: where there are versions.
      count: of how many snapshots each is made.
    """
    made = min((v.days[-1] for v in versions), default="")
    done = sum(day <= made for day in place.days)
    # The next version is made of `count - 1` of those that have one.
    first = min(done, len(place.days) - 1) - (count - 1)
    return set(place.artefacts[max(first, 0) :])
