"""What a page tells of the inputs of the newest day: drift and coverage."""

from ecdctr_tf import artefacts, store
from ecdctr_tf.results import text
from ecdctr_tf.results.models import MAIN, Model
from ecdctr_tf.results.page import Section


def sections(model: Model) -> list[Section]:
    """Return how the newest day of E-CDCTR's first run differs from others.

    Nothing of other models, and of days whose inputs were not looked at.
    """
    if model.name != MAIN:
        return []
    directory = model.workdirs[0].ctr(model.base)
    newest = store.dated(directory)[-1]
    manifest = store.read_manifest(directory / newest, artefacts.CTR)
    found = manifest.metrics.get("inputs")
    if not found:
        return []
    rows = [
        [
            name,
            *(text.number(of[key], 3) for key in ("psi", "psi_before")),
            *(text.percent(of[key]) for key in ("new", "new_before")),
            *(
                text.percent(of[key])
                for key in ("historical", "historical_before")
            ),
        ]
        for name, of in found["features"].items()
    ]
    before = text.plural(len(found["days"]), "scored day")
    words = (
        f"Against the {before} before. PSI: the stability index of the values, "
        "beside the greatest that any of these days has against the others. "
        "New: ids that the model did not know. With history: rows whose id "
        "has a historical embedding."
    )
    if found["warnings"]:
        words += " Look into: " + "; ".join(found["warnings"]) + "."
    return [
        Section(
            f"Inputs of {newest}",
            [
                "feature",
                *("PSI", "PSI before"),
                *("new", "new before"),
                *("with history", "with history before"),
            ],
            rows,
            words,
        )
    ]
