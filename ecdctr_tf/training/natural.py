"""What TPM and CPM share: going on from the last run, fitting a window."""

from ecdctr_tf import metrics, store, windows
from ecdctr_tf.training import fit, levels, scoring, tasks, workdir

DOMAIN = "natural"


def continued(
    data, config, stage, kind, directory, window, table_rows, history=None
) -> levels.Level:
    """Return the level of the last run before a window, or a fresh one."""
    last = workdir.newest_before(directory, window.last)
    if last is None:
        model = levels.build(data, config, stage, kind, table_rows, history)
        return levels.Level(model, kind, table_rows)
    manifest = store.read_manifest(last, kind)
    if manifest.window.last >= window.first:
        raise ValueError(
            f"{last} was trained up to {manifest.window.last}, inside the "
            f"window {window} asked for: days would be learned twice. Ask for "
            "a window that begins later."
        )
    level = levels.load(data, config, stage, last, kind, history)
    levels.grow(data, config, stage, level, table_rows)
    level.parents["last"] = store.parent(last, directory / window.last)
    return level


def train(
    data, run, config, stage, level, window, names
) -> tuple[list[dict], dict]:
    """Score a level on a window of natural logs, then fit it.

    Returns:
      The learning curve, and what the artefact's metrics tell of it: the last
      `loss`, and `natural`, the metrics of the window's first day.
    """
    if not data.rows(DOMAIN, window):
        raise ValueError(
            f"{data.path / DOMAIN} has no rows in {window}: there is nothing "
            "to train on. Ask for a window with rows (--start, --end)."
        )
    before = _validate(data, level, window)
    task = tasks.task(
        data,
        config,
        stage.training,
        level.model,
        DOMAIN,
        window,
        names[-2],
        run.progress(*names),
        tensorboard=run.tensorboard(*names),
        start={"parents": level.parents, "rows": level.rows},
    )
    curve = fit.fit(level.model, task)
    level.rows += task.rows
    return curve, {"loss": curve[-1]["loss"], "natural": before}


def _validate(data, level, window) -> dict:
    """Score the first day of a window before it is trained on.

    Returns:
      What `metrics.evaluate` returns, of the natural domain; empty for a level
      that has not been trained yet, and for a day without rows.
    """
    day = windows.Window(window.first, window.first)
    if not level.rows or not data.rows(DOMAIN, day):
        return {}
    scores = scoring.score(level.model, data, day, DOMAIN)
    return metrics.evaluate(scores["click"], scores["ctr"], scores["user"])
