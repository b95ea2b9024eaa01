"""What TPM and CPM share: going on from the last run, fitting a window."""

from ecdctr_tf import metrics, store, windows
from ecdctr_tf.input import streams
from ecdctr_tf.training import fit, levels, scoring, workdir

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


def fit_window(data, run, config, stage, level, window, names) -> list[dict]:
    """Fit a level on a window of natural logs; return the curve."""
    training = stage.training
    model = level.model
    rows = data.rows(DOMAIN, window)
    if not rows:
        raise ValueError(
            f"{data.path / DOMAIN} has no rows in {window}: there is nothing "
            "to train on. Ask for a window with rows (--start, --end)."
        )

    def stream(skip):
        return streams.batches(
            data,
            DOMAIN,
            window,
            training.batch_size,
            seed=levels.order_seed(config, window),
            passes=training.passes,
            skip=skip,
            names=[f.name for f in model.spec.features],
        )

    task = fit.Task(
        label=f"{names[-2]} {window}",
        stream=stream,
        rows=rows * training.passes,
        batch_size=training.batch_size,
        checkpoint_steps=training.checkpoint_steps,
        progress=run.progress(*names),
        tensorboard=run.tensorboard(*names),
        start={"parents": level.parents, "rows": level.rows},
    )
    return fit.fit(model, task)


def validate(data, level, window) -> dict:
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
