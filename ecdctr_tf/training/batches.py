"""Batch sizes that fit the data: from the rows of a day."""

from ecdctr_tf import features, windows
from ecdctr_tf.input.data_directory import DataDirectory

# Steps that a day of rows should give; the tuned presets have 12 to 150.
_STEPS_A_DAY = 32
# Most rows of a step, by whether ads are among them: an A-CTR has few rows.
_LARGEST = {True: 512, False: 4096}
_SMALLEST = 16


def size(data: DataDirectory, parts: dict[str, windows.Window]) -> int:
    """Return the rows of a step: a power of two, from the rows of a day.

    Args:
      data: the data directory.
      parts: domain -> the first days that a level is trained on.
    """
    rows = sum(
        data.rows(domain, window) / len(window.days)
        for domain, window in parts.items()
    )
    largest = _LARGEST[features.ADS in parts]
    wanted = min(max(int(rows / _STEPS_A_DAY), _SMALLEST), largest)
    return 1 << (wanted.bit_length() - 1)
