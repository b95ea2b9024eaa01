"""Batch sizes that fit the data: from the rows of a day."""

from collections.abc import Mapping

from ecdctr_tf import features

# Steps that a day of rows should give; the tuned presets have 12 to 150.
_STEPS_A_DAY = 32
# Most rows of a step, by whether ads are among them: an A-CTR has few rows.
_LARGEST = {True: 512, False: 4096}
_SMALLEST = 16


def size(rows: Mapping[str, float]) -> int:
    """Return the rows of a step: a power of two, from the rows of a day.

    Args:
      rows: domain -> rows a day, of the first days that a level is trained on.
    """
    largest = _LARGEST[features.ADS in rows]
    a_step = int(sum(rows.values()) / _STEPS_A_DAY)
    wanted = min(max(a_step, _SMALLEST), largest)
    return 1 << (wanted.bit_length() - 1)
