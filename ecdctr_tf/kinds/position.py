"""Positions: what is known of an impression only after it was served.

Shapes: N rows, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ecdctr_tf.deferred import tf
from ecdctr_tf.kinds.feature import Arrays, Tensors
from ecdctr_tf.kinds.id import Id


class Position(Id):
    """An id that training reads from the log, and requests leave out.

    Scored days read the position of the log too. All rows of a request without
    positions are scored as if they were shown at the `default` of the spec, so
    that their scores can be compared.
    """

    of_candidate = True

    def from_request(
        self, raw: Tensors, mappings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """Return the rows of the positions, or of the default."""
        given = raw[self.name]
        default = tf.constant(self.feature.default, given.dtype)
        unsaid = tf.equal(given, self.table.padding)
        said = {self.name: tf.where(unsaid, default, given)}
        return super().from_request(said, mappings)

    def looked_up(
        self, raw: Arrays, spaces: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Return the rows of the positions, or of the default."""
        given = raw[self.name]
        unsaid = given == self.table.padding
        said = {self.name: np.where(unsaid, self.feature.default, given)}
        return super().looked_up(said, spaces)
