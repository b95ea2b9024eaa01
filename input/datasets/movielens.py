"""TFDS builder of MovieLens 1M, parted into two domains by arithmetic.

Ratings are true positives and negatives: a click is a rating of 4 or 5. Ads
rows are half of the ratings of every fifth movie, so there is no shift between
the domains, and transfer has to help.
"""

import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_datasets as tfds

from ecdctr_tf.input.datasets import two_domain

RATINGS = "sample_movielens_rating.dat"
# File name -> its columns, in order.
_FILES = {
    RATINGS: ("user_id", "movie_id", "rating", "timestamp"),
    "users.dat": ("user_id", "gender", "age", "occupation", "zip_code"),
    "movies.dat": ("movie_id", "title", "genres"),
}
_ORDER = ("timestamp", "user_id", "movie_id")
_DAY_SECONDS = 86_400


class MovieLens1m(two_domain.TwoDomainBuilder):
    """Ratings with demographics of the user and genres of the movie.

    `timestamp` is in seconds since 1970-01-01 UTC, and days are days of UTC;
    `genres` are joined by `|`; `age` is the lowest of the age group.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "A click is a rating of at least 4."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get MovieLens 1M from https://grouplens.org/datasets/movielens/1m/, "
        "put users.dat, movies.dat and the ratings, or a sample of them, as "
        f"{RATINGS} into a folder and pass it as the manual directory."
    )
    FILES = tuple(_FILES)
    ABOUT = (
        "Ratings of movies, of which every fifth movie gives ads rows. One "
        "example is a block of rows of one day."
    )
    COLUMNS = {
        "user_id": np.int64,
        "movie_id": np.int64,
        "timestamp": np.int64,
        "rating": np.uint8,
        "click": np.uint8,
        "gender": str,
        "age": np.int64,
        "occupation": np.int64,
        "zip_code": str,
        "release_year": np.int64,
        "genres": str,
    }

    def day_rows(
        self, domain: str, folder: pathlib.Path
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield `(day, rows)` in order of days."""
        rows = ratings(folder)
        ads = is_ads(rows["user_id"].to_numpy(), rows["movie_id"].to_numpy())
        rows = rows.filter(pa.array(ads == (domain == "ads")))
        days = rows["timestamp"].to_numpy() // _DAY_SECONDS
        starts = np.flatnonzero(np.diff(days, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(days)], strict=True):
            yield int(days[start]), rows.slice(start, end - start)


def is_ads(user: np.ndarray, movie: np.ndarray) -> np.ndarray:
    """Return whether ratings belong to the ads domain, bool `[N]`.

    Args:
      user: int64 `[N]`, user ids.
      movie: int64 `[N]`, movie ids.
    """
    return (movie % 5 == 0) & ((7919 * user + 104_729 * movie) % 2 == 0)


def ratings(folder: pathlib.Path) -> pa.Table:
    """Return the ratings with user and movie joined, in order of time.

    Args:
      folder: holds the three files.

    Raises:
      ValueError: a rating's user or movie is missing from its file.
    """
    rated, users, movies = (_read(folder / name) for name in _FILES)
    for file, other in (("users.dat", users), ("movies.dat", movies)):
        key = other.column_names[0]
        place = pc.index_in(rated[key], other[key].combine_chunks())
        if place.null_count:
            raise ValueError(
                f"{place.null_count} ratings have a `{key}` that no row of "
                f"{folder / file} has. Use files of the same release."
            )
        for name in other.column_names[1:]:
            rated = rated.append_column(name, other[name].take(place))
    year = pc.replace_substring_regex(rated["title"], r"^.*\((\d{4})\)$", r"\1")
    return (
        rated.append_column("release_year", pc.cast(year, pa.int64()))
        .append_column("click", pc.greater_equal(rated["rating"], 4))
        .sort_by([(name, "ascending") for name in _ORDER])
    )


def _read(path: pathlib.Path) -> pa.Table:
    """Return a file of `::`-separated columns; whole numbers become int64."""
    lines = path.read_text(encoding="latin-1").splitlines()
    columns = zip(*(line.split("::") for line in lines), strict=True)
    table = {}
    for name, column in zip(_FILES[path.name], columns, strict=True):
        values = pa.array(column)
        text = name in ("gender", "zip_code", "title", "genres")
        table[name] = values if text else pc.cast(values, pa.int64())
    return pa.table(table)
