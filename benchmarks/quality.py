"""What optimizers and precisions learn from the same rows of natural logs.

A complete pre-training model is trained on a window of days and scored on the
days after it. Each optimizer has its learning rate of the tables chosen for it
in float32, on days before the scored ones; then each way is trained with
several seeds and held against plain Adam or Adagrad, seed by seed.
"""

import dataclasses
import json
import pathlib
import statistics
import tempfile

import rich
import rich.table
import tf_keras as keras
from absl import flags

from benchmarks import harness, ours
from ecdctr_tf import metrics, presets, store, windows
from ecdctr_tf.input.data_directory import DataDirectory

_DATA = flags.DEFINE_string("data_dir", None, "Data directory.")
_PRESET = flags.DEFINE_string("preset", "synthetic", "Preset of the model.")
_LAST = flags.DEFINE_string("last", None, "Last day trained on.")
_DAYS = flags.DEFINE_integer("days", 30, "Days trained on.")
_SCORED = flags.DEFINE_integer("scored_days", 3, "Days scored after them.")

_DOMAIN = "natural"
_ADAM_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
_ADAGRAD_RATES = (3e-2, 1e-1, 3e-1, 1.0)
_PLAIN = {"adam": keras.optimizers.Adam, "adagrad": keras.optimizers.Adagrad}
# Way -> the plain one it is held against.
_AGAINST = {
    "lazy_adam": "adam",
    "lazy_adam bfloat16": "adam",
    "row_wise_adagrad": "adagrad",
    "row_wise_adagrad bfloat16": "adagrad",
}


def main() -> None:
    """Choose the rates, train all seeds, print AUC and differences."""
    data = DataDirectory(_DATA.value)
    before = windows.Window.ending(_LAST.value, _SCORED.value + 1).first
    aucs, chosen = {}, {}
    for way in (*_PLAIN, *_AGAINST):
        name = way.split()[0]
        if name not in chosen:
            rates = _ADAM_RATES if "adam" in name else _ADAGRAD_RATES
            of = {rate: _auc(data, name, rate, before, 0) for rate in rates}
            chosen[name] = max(of, key=of.get)
        rate = chosen[name]
        seeds = range(1, harness.SEED_COUNT.value + 1)
        found = [_auc(data, way, rate, _LAST.value, seed) for seed in seeds]
        aucs[way] = {"rate": rate, "auc": found}
    differences = {
        way: _difference(aucs[way]["auc"], aucs[plain]["auc"])
        for way, plain in _AGAINST.items()
    }
    _report(aucs, differences)


def _auc(data, way: str, rate: float, last: str, seed: int) -> float:
    """Train a way on the window up to a day; return the AUC of days after."""
    config = dataclasses.replace(presets.PRESETS[_PRESET.value](), seed=seed)
    name, _, precision = way.partition(" ")
    training = dataclasses.replace(
        config.cpm,
        table_optimizer="lazy_adam" if name in _PLAIN else name,
        table_learning_rate=rate,
        precision=precision or "float32",
    )
    network = dataclasses.replace(config.model, history=False)
    config = dataclasses.replace(config, model=network, cpm=training)
    with tempfile.TemporaryDirectory() as directory:
        level = ours.level(data, config, pathlib.Path(directory))
        level.fresh(last)
        if name in _PLAIN:
            plain = _PLAIN[name](rate, jit_compile=False)
            level.model.compile(level.model.optimizer, plain)
        window = windows.Window.ending(last, _DAYS.value)
        level.fit({_DOMAIN: window}, f"{way} {rate} seed {seed}")
    end = windows.day_number(last) + _SCORED.value
    scored = windows.Window.ending(windows.day_name(end), _SCORED.value)
    scores = level.score(scored, _DOMAIN)
    result = metrics.evaluate(
        scores["click"], scores["ctr"], scores["user"], scores["weight"]
    )
    return result["auc"]


def _difference(ours: list[float], plain: list[float]) -> dict:
    """Return the mean difference over seeds and its standard error."""
    each = [a - b for a, b in zip(ours, plain, strict=True)]
    error = statistics.stdev(each) / len(each) ** 0.5
    return {"difference": statistics.mean(each), "standard_error": error}


def _report(aucs: dict, differences: dict) -> None:
    """Print a table; write the JSON."""
    table = rich.table.Table("", "rate", "AUC", "less plain", "standard error")
    for way, found in aucs.items():
        auc = statistics.mean(found["auc"])
        row = [way, f"{found['rate']:g}", f"{auc:.4f}"]
        if way in differences:
            row += [f"{v:+.4f}" for v in differences[way].values()]
        table.add_row(*row)
    rich.print(table)
    if harness.JSON.value:
        results = {"ways": aucs, "differences": differences}
        results["machine"] = harness.machine()
        text = json.dumps(results, indent=1) + "\n"
        store.write_text(harness.JSON.value, text)


if __name__ == "__main__":
    flags.mark_flags_as_required(["data_dir", "last"])
    harness.run(main)
