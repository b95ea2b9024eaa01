"""The kinds of features: one class each, which all other rooms go through.

A new kind is a module with a subclass of `Feature`, its row in `KINDS`, and its
row in `features.KINDS`, which says what a spec has to say about such a feature.
"""

from ecdctr_tf import features
from ecdctr_tf.kinds.dense import Dense
from ecdctr_tf.kinds.feature import Feature
from ecdctr_tf.kinds.id import Id
from ecdctr_tf.kinds.sequence import Sequence

# `FeatureSpec.kind` -> its class. Models read the kinds in this order.
KINDS: dict[str, type[Feature]] = {
    "id": Id,
    "sequence": Sequence,
    "dense": Dense,
}

__all__ = [
    "Dense",
    "Feature",
    "Id",
    "KINDS",
    "Sequence",
    "by_kind",
    "ids",
    "of",
]


def of(spec: features.DataSpec) -> list[Feature]:
    """Return the features of a data set, in the order of the spec."""
    return [KINDS[feature.kind](feature, spec) for feature in spec.features]


def by_kind(spec: features.DataSpec) -> list[Feature]:
    """Return the features of a data set, kind by kind."""
    order = {name: place for place, name in enumerate(KINDS)}
    return sorted(of(spec), key=lambda feature: order[feature.feature.kind])


def ids(spec: features.DataSpec) -> list[features.FeatureSpec]:
    """Return the features whose value is one row of a table, kind by kind."""
    return [feature.feature for feature in by_kind(spec) if feature.one_row]
