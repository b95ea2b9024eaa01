"""The kinds of features: one class each, which all other parts go through.

A new kind is a module with a subclass of `Feature`, its row in `KINDS`, and its
row in `features.KINDS`, which says what a spec has to say about such a feature.

Logs are converted through them without TensorFlow, which takes seconds to load:
`tf` and `keras` are those of `deferred`, and layers are imported where they are
made.
"""

from ecdctr_tf import features
from ecdctr_tf.kinds.cross import Cross
from ecdctr_tf.kinds.dense import Dense
from ecdctr_tf.kinds.feature import Column, Feature
from ecdctr_tf.kinds.id import Id
from ecdctr_tf.kinds.ids import Ids
from ecdctr_tf.kinds.listed import Listed
from ecdctr_tf.kinds.position import Position
from ecdctr_tf.kinds.sequence import Sequence
from ecdctr_tf.kinds.vector import Vector
from ecdctr_tf.kinds.weighted_ids import WeightedIds

# `FeatureSpec.kind` -> its class. Models read the kinds in this order.
KINDS: dict[str, type[Feature]] = {
    "id": Id,
    "sequence": Sequence,
    "dense": Dense,
    "ids": Ids,
    "weighted_ids": WeightedIds,
    "vector": Vector,
    "cross": Cross,
    "position": Position,
}

__all__ = [
    "Column",
    "Cross",
    "Dense",
    "Feature",
    "Id",
    "Ids",
    "KINDS",
    "Listed",
    "Position",
    "Sequence",
    "Vector",
    "WeightedIds",
    "by_kind",
    "ids",
    "of",
    "unchanged",
]


def of(spec: features.DataSpec) -> list[Feature]:
    """Return the features of a data set, in the order of the spec.

    Raises:
      ValueError: two features would send a column of one name in requests.
    """
    found = [KINDS[feature.kind](feature, spec) for feature in spec.features]
    senders: dict[str, str] = {}
    for feature in found:
        for column in feature.request():
            other = senders.setdefault(column.lower(), feature.name)
            if other != feature.name:
                raise ValueError(
                    f"The features {other!r} and {feature.name!r} would both "
                    f"have the column {column!r} in requests. Rename one."
                )
    return found


def by_kind(spec: features.DataSpec) -> list[Feature]:
    """Return the features of a data set, kind by kind."""
    order = {name: place for place, name in enumerate(KINDS)}
    return sorted(of(spec), key=lambda feature: order[feature.feature.kind])


def ids(spec: features.DataSpec) -> list[features.FeatureSpec]:
    """Return the features whose value is one row of a table, kind by kind."""
    return [feature.feature for feature in by_kind(spec) if feature.one_row]


def unchanged(before: features.DataSpec, after: features.DataSpec) -> set[str]:
    """Return the features that a model reads in the same way in two specs."""
    old = {feature.name: feature for feature in of(before)}
    return {
        feature.name
        for feature in of(after)
        if feature.name in old
        and feature.feature == old[feature.name].feature
        and feature.compared() == old[feature.name].compared()
    }
