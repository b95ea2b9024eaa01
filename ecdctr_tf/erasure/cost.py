"""What an erasure costs: the predictions for all others, before and after."""

import pathlib
from collections.abc import Iterator

import numpy as np

from ecdctr_tf import artefacts, features, metrics, scoring, store, windows
from ecdctr_tf.erasure import runs
from ecdctr_tf.input.data_directory import DataDirectory


def auc(
    workdir: pathlib.Path, data: DataDirectory, rows: np.ndarray
) -> dict[str, float | None]:
    """Return the AUC of each A-CTR on its newest day, of all other users.

    The model of the day before is asked, as it is now, so it has not learned
    the rows. Where there is no such day, it is that of the day itself.

    Args:
      workdir: the work directory.
      data: the data directory.
      rows: int32, rows of the users who do not count.

    Returns:
      `<directory> on <day>` -> AUC; None where all rows are of one class.
    """
    return {
        f"{directory.relative_to(workdir.resolve())} on {scored}": _auc(
            directory / asked, scored, data, rows
        )
        for directory, asked, scored in _newest(workdir)
    }


def _newest(workdir: pathlib.Path) -> Iterator[tuple[pathlib.Path, str, str]]:
    """Yield directories of A-CTRs, the day that is asked, and of whose rows."""
    scored = {
        place.parent
        for place, manifest in runs.places(workdir).items()
        if artefacts.SCORES in manifest.files
    }
    for directory in sorted(scored):
        days = store.dated(directory)
        yield directory, days[-2:][0], days[-1]


def _auc(
    path: pathlib.Path, day: str, data: DataDirectory, rows: np.ndarray
) -> float | None:
    if not data.rows(features.ADS, windows.Window(day, day)):
        return None
    model = artefacts.read_model(path, data)
    for member in model.members:
        artefacts.set_buckets(member, data)
    scores = scoring.score(model, data, windows.Window(day, day))
    kept = ~np.isin(scores["user"], rows)
    click = scores["click"][kept]
    if click.min(initial=1) == click.max(initial=0):
        return None
    return metrics.auc(click, scores["ctr"][kept], scores["weight"][kept])
