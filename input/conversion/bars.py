"""Progress bars of conversions."""

import tqdm


def bar(what: str, progress: bool) -> tqdm.tqdm:
    """Return a bar on stderr that counts rows."""
    # The delay keeps an early error alone on its line.
    return tqdm.tqdm(
        desc=what,
        unit=" rows",
        unit_scale=True,
        delay=0.5,
        disable=not progress,
    )
