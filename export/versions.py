"""The versions of a served model: published, taken back, and out of date.

`<export_dir>/withdrawn.json` remembers the versions that were rolled back, by
their numbers:

```
{"20240628": {"artefact": "<hash of the day's manifest>",
              "time": "2024-06-29T03:10:00+00:00", "why": "CTR fell"},
 "sha256": "<hash of all that it says>"}
```

`<export_dir>/refused-<version>.json` says why a version was refused by the gate
(`gate.Report`), until there is a version of that number.

A server reads neither: versions are the directories whose names are numbers.
What servers are configured with lies beside them (`server_configs`).
"""

import dataclasses
import datetime
import logging
import pathlib

from ecdctr_tf import config as configs
from ecdctr_tf import store, typed_values
from ecdctr_tf.export import (
    evidence,
    gate,
    saved_model,
    server_configs,
)

WITHDRAWN = "withdrawn.json"


@dataclasses.dataclass(frozen=True)
class Withdrawal:
    """Why a version was taken back."""

    # Hash of the manifest of the artefact that it was an export of.
    artefact: str
    # When, in ISO 8601 with the zone.
    time: str
    # What the operator said, if anything.
    why: str


def numbers(export_dir: pathlib.Path) -> list[int]:
    """Return the versions that a server sees, in order."""
    if not export_dir.is_dir():
        return []
    names = (path.name for path in export_dir.iterdir() if path.is_dir())
    return sorted(int(name) for name in names if name.isdecimal())


def refused(export_dir: pathlib.Path) -> list[int]:
    """Return the versions that the gate refused, in order."""
    names = (file.stem for file in export_dir.glob("refused-*.json"))
    found = (name.removeprefix("refused-") for name in names)
    return sorted(int(number) for number in found if number.isdecimal())


def live_day(export_dir: pathlib.Path) -> str:
    """Return the day that the newest version is of; empty if there is none."""
    there = numbers(export_dir)
    if not there:
        return ""
    path = export_dir / str(there[-1])
    window = store.read_manifest(path, saved_model.KIND).window
    return window.last if window else ""


def verify_live(export_dir: pathlib.Path) -> None:
    """Compare the newest version with its manifest.

    Raises:
      FileNotFoundError, ValueError: it is damaged.
    """
    newest = numbers(export_dir)[-1]
    store.verify(export_dir / str(newest), saved_model.KIND)


def withdrawn(export_dir: pathlib.Path) -> dict[int, Withdrawal]:
    """Return the versions that were rolled back.

    Raises:
      ValueError: the file that remembers them is damaged.
    """
    file = export_dir / WITHDRAWN
    if not file.exists():
        return {}
    try:
        found = typed_values.from_json(file.read_bytes())
        typed_values.check("It", dict, found)
        if typed_values.is_edited(found):
            raise ValueError(typed_values.EDITED)
        return {
            int(number): typed_values.make(Withdrawal, number, fields)
            for number, fields in found.items()
        }
    except ValueError as error:
        raise ValueError(
            f"{file} should hold the versions that were rolled back ({error}). "
            "Restore it; delete it only if none of them may come back by an "
            "export that is run again."
        ) from error


def keep_withdrawn(
    export_dir: pathlib.Path, known: dict[int, Withdrawal]
) -> None:
    """Write which versions were rolled back, as `withdrawn` returns them."""
    fields = {str(n): dataclasses.asdict(known[n]) for n in sorted(known)}
    text = typed_values.to_json(
        typed_values.sealed(fields), "the versions rolled back"
    )
    store.write_text(export_dir / WITHDRAWN, text)


def publish(
    artefact: pathlib.Path,
    data_dir: pathlib.Path,
    export_dir: pathlib.Path,
    version: int | None = None,
    keep: int = 0,
    serving: configs.ServingConfig | None = None,
    *,
    bounds: configs.GateConfig | None = None,
    force: bool = False,
) -> str:
    """Publish an A-CTR day as the next version, unless that was done before.

    A day whose version was rolled back is not published again by itself.

    Args:
      artefact: the day, `<workdir>/<model>/ctr/<day>`.
      data_dir: the data directory that it was trained on.
      export_dir: the base path of the served model.
      version: the number of the version; None takes the day as YYYYMMDD.
      keep: how many of the newest versions stay; 0: all.
      serving: as of `export_model`.
      bounds: what the gate allows; None: it does not look.
      force: whether to publish what the gate would refuse.

    Returns:
      What was done, in sentences.

    Raises:
      RefusedError: the gate refuses the day; what is live stays.
      FileExistsError: the version is there, with another day.
      FileNotFoundError, ValueError: as `export_model`; or the version is
        there and damaged, or the number has another width than the versions
        there, or was rolled back.
    """
    serving = serving or configs.ServingConfig()
    with store.lock(export_dir, "exporting"):
        finish(export_dir)
        number = version
        if number is None:
            number = int(artefact.name.replace("-", ""))
            refusal = withheld(export_dir, artefact)
            if refusal:
                return refusal
        _check_number(export_dir, number)
        place = export_dir / str(number)
        parents = {"artefact": store.parent(artefact, place)}
        said = f"exported {artefact} to {place}"
        if (place / store.MANIFEST).exists() and (
            store.read_manifest(place, saved_model.KIND).parents == parents
        ):
            # It was exported before; that it is still whole is not known.
            store.verify(place, saved_model.KIND)
        else:
            report = None
            if bounds is not None:
                report = _look(
                    artefact, data_dir, place, bounds, force, serving.tables
                )
                said += f"\n{report.words()}"
            saved_model.export_model(
                artefact,
                data_dir,
                export_dir,
                number,
                serving,
                report=report,
            )
            _report_file(place).unlink(missing_ok=True)
        # Servers hear of a version before they lose an old one.
        kept = numbers(export_dir)[-keep:]
        server_configs.write(export_dir, kept, serving.candidates)
        if keep:
            retire(export_dir, keep)
    return said


def _look(
    artefact: pathlib.Path,
    data_dir: pathlib.Path,
    place: pathlib.Path,
    bounds: configs.GateConfig,
    force: bool,
    tables: str,
) -> gate.Report:
    """Return what the gate finds of a day that is to be published.

    Args:
      artefact: the day.
      data_dir: the data directory.
      place: of the version.
      bounds: what the gate allows.
      force: whether the day is published whatever it finds.
      tables: as of `ServingConfig`.

    Raises:
      RefusedError: it is refused. A file beside the versions says why.
    """
    there = numbers(place.parent)
    live = there[-1] if there else None
    found = evidence.gather(
        artefact,
        data_dir,
        place.parent / str(live) if there else None,
        tables,
    )
    report = gate.judge(found, bounds, str(artefact), live)
    if not report.failed or force:
        return dataclasses.replace(report, forced=bool(report.failed))
    file = _report_file(place)
    store.write_text(file, report.to_json())
    stays = f"Version {live} stays live." if there else "Nothing is live yet."
    raise gate.RefusedError(
        f"{place} is refused: {report.words()} {stays} {file} says all that "
        "was looked at. To publish it all the same, use --force_publish."
    )


def _report_file(place: pathlib.Path) -> pathlib.Path:
    """Return the file that says why a version was refused."""
    return place.with_name(f"refused-{place.name}.json")


def withheld(export_dir: pathlib.Path, artefact: pathlib.Path) -> str:
    """Return why an artefact is not published by itself; empty if it may be."""
    wanted = store.file_hash(artefact / store.MANIFEST)
    own = int(artefact.name.replace("-", ""))
    for number, entry in withdrawn(export_dir).items():
        if entry.artefact == wanted or number == own:
            before = "" if entry.artefact == wanted else " as it was before"
            return (
                f"{artefact} is not exported again: version {number} of it"
                f"{before} was rolled back at {entry.time}{_reason(entry)}. To "
                "publish it all the same, give it another number with "
                "`--stage=export --version`."
            )
    return ""


def _reason(entry: Withdrawal) -> str:
    return f" ({entry.why})" if entry.why else ""


def _check_number(export_dir: pathlib.Path, number: int) -> None:
    """Raise if servers would not take a number for the newest version."""
    back = withdrawn(export_dir).get(number)
    if back:
        raise ValueError(
            f"Version {number} was rolled back at {back.time}{_reason(back)}; "
            "servers and people know it as that. Choose another number with "
            "`--stage=export --version`."
        )
    there = [n for n in numbers(export_dir) if n != number]
    if there and len(str(there[-1])) != len(str(number)):
        raise ValueError(
            f"A version should have as many digits as those in {export_dir}, "
            f"such as {there[-1]}: the greatest number is served. Received: "
            f"{number}"
        )
    if there and there[-1] > number:
        logging.warning(
            "%s is there already: a server of the newest version will not "
            "load %s.",
            there[-1],
            number,
        )


def roll_back(export_dir: pathlib.Path, why: str = "") -> tuple[int, int]:
    """Take the newest version back, so that a server returns to the one before.

    It is remembered before it is removed: a command that is killed in between
    is finished by the next one.

    Args:
      export_dir: the base path of the served model.
      why: the reason, for those who look it up later.

    Returns:
      The version that was taken back, and the one that is newest now.

    Raises:
      FileNotFoundError, ValueError: there is no version before the newest,
        one of the two is damaged, or another process is writing. Nothing is
        taken back.
    """
    if not export_dir.is_dir():
        raise FileNotFoundError(
            f"{export_dir} does not exist: there is no version to take back."
        )
    with store.lock(export_dir, "rolling back an export"):
        finish(export_dir)
        there = numbers(export_dir)
        if len(there) < 2:
            raise FileNotFoundError(
                f"{export_dir} should hold a version to return to. It holds "
                f"{there or 'none'}."
            )
        *_, before, newest = there
        store.verify(export_dir / str(before), saved_model.KIND)
        manifest = store.read_manifest(
            export_dir / str(newest), saved_model.KIND
        )
        entry = Withdrawal(
            manifest.parents["artefact"]["manifest"],
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            why,
        )
        keep_withdrawn(export_dir, {**withdrawn(export_dir), newest: entry})
        finish(export_dir)
    return newest, before


def finish(export_dir: pathlib.Path) -> None:
    """Remove versions that were rolled back and are still there."""
    store.sweep(export_dir)
    back = withdrawn(export_dir)
    there, over = numbers(export_dir), []
    for number in there:
        path = export_dir / str(number)
        if number not in back or not (path / store.MANIFEST).exists():
            continue
        manifest = store.read_manifest(path, saved_model.KIND)
        # One of that number that was published on purpose stays.
        if manifest.parents["artefact"]["manifest"] == back[number].artefact:
            over.append(number)
    if over:
        kept = [number for number in there if number not in over]
        server_configs.write(export_dir, kept)
    for number in over:
        store.remove(export_dir / str(number))


def retire(export_dir: pathlib.Path, keep: int) -> list[int]:
    """Remove all versions but the newest.

    Args:
      export_dir: the base path of the served model.
      keep: how many stay, at least 1.

    Returns:
      The versions that were removed.
    """
    if keep < 1:
        raise ValueError(
            "The newest version is never removed: at least 1 should stay. "
            f"Received: {keep}"
        )
    old = numbers(export_dir)[:-keep]
    for number in old:
        store.remove(export_dir / str(number))
    return old
