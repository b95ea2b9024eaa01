"""A seeded synthetic world of two domains whose true click rates are known.

Users and items are normal vectors. A user clicks natural content by the dot
product with the item, and ads by the same product after a linear change of the
user (the domain shift). Users drift over time, and may have seasons: interests
that go and come back. Activity and popularity have heavy tails. The default
dial is the one that published figures refer to.

Impressions may have keywords, each with an effect of its own on clicks.

A model may see ids, categories, keywords, time and past clicks; `true_ctr` is
the oracle, for evaluation only.

Shapes: U users, I items, C categories, K latent dimensions, N rows of a day, W
keywords.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ecdctr_tf import features, windows

# K and C.
DIMENSIONS = 6
CATEGORIES = 20
# Most keywords of an impression.
KEYWORDS_OF_ROW = 5
# Days over which the vector of a user stays the same.
DRIFT_DAYS = 10
_DAY_SECONDS = 86_400
# Names of the independent streams of random numbers.
_USERS, _ITEMS, _ADS_WORLD, _DRIFT, _COLD, _ROWS, _SEASONS = range(7)
_KEYWORDS = 7


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """The dials of a synthetic world."""

    # U and I.
    users: int = 8_000
    items: int = 2_000
    # Days from `start`, and how many of them, the last ones, show ads.
    days: int = 180
    ads_days: int = 30
    # Impressions a day. Fewer ads rows: the sparsity dial.
    natural_per_day: int = 20_000
    ads_per_day: int = 1_500
    # Share of a user's variance renewed every `DRIFT_DAYS` days, in [0, 1].
    drift: float = 0.0208
    # Size of the linear change between the domains; 0 is none.
    domain_shift: float = 0.5
    # Pareto exponents of user activity and item popularity: smaller values
    # have heavier tails.
    user_exponent: float = 1.5
    item_exponent: float = 1.2
    # Share of the items that first appear on a day of their own, spread evenly
    # over all days, in [0, 1); the others are there from the beginning.
    cold_item_share: float = 0.0
    # Days of a season; 0 for none. After `seasons` of them the first one comes
    # back, and with it what each user liked in it.
    season_days: int = 0
    seasons: int = 3
    # Share of a user's variance that belongs to the season, in [0, 1].
    season_strength: float = 0.5
    # W; 0 for a world without keywords. An impression has up to 5 of them, and
    # their mean effect is added to its logit.
    keywords: int = 0
    # Standard deviation of the effects.
    keyword_strength: float = 2.0
    # First day, `YYYY-MM-DD`.
    start: str = "2024-01-01"
    # Of everything random. Worlds differ: over 30 seeds the AUC of `true_ctr`
    # on the last 15 days of ads is 0.851 with a standard deviation of 0.015.
    # This seed's is 0.865, next to the 0.864 of the reference figures.
    seed: int = 6

    def __post_init__(self) -> None:
        """Check the ranges."""
        windows.day_number(self.start)
        for name in ("users", "days", "natural_per_day", "seasons"):
            if getattr(self, name) < 1:
                self._refuse(name, "at least 1")
        if self.items < 4:
            self._refuse("items", "at least 4: a quarter of them are ads")
        if not 0 <= self.ads_days <= self.days:
            self._refuse("ads_days", "between 0 and `days`")
        for name in (
            "ads_per_day",
            "domain_shift",
            "season_days",
            "seed",
            "keywords",
        ):
            if getattr(self, name) < 0:
                self._refuse(name, "at least 0")
        for name in ("user_exponent", "item_exponent"):
            if getattr(self, name) <= 0:
                self._refuse(name, "positive")
        for name in ("drift", "season_strength"):
            if not 0 <= getattr(self, name) <= 1:
                self._refuse(name, "between 0 and 1")
        if not 0 <= self.cold_item_share < 1:
            self._refuse("cold_item_share", "at least 0 and below 1")

    def _refuse(self, name: str, wanted: str) -> None:
        raise ValueError(
            f"`{name}` of a world should be {wanted}. "
            f"Received: {getattr(self, name)}"
        )

    @property
    def window(self) -> windows.Window:
        """The days of the world."""
        first = windows.day_number(self.start)
        return windows.Window(
            self.start, windows.day_name(first + self.days - 1)
        )


TINY = WorldConfig(
    users=200,
    items=60,
    days=12,
    ads_days=5,
    natural_per_day=400,
    ads_per_day=80,
)
# Three seasons of 20 days, each back after 40 others; ads have two rounds of
# them, after two rounds of natural content alone. Few users: in a season each
# has some 270 natural impressions, enough to see what it likes.
SEASONAL = WorldConfig(
    users=600,
    items=400,
    days=240,
    ads_days=120,
    natural_per_day=8_000,
    ads_per_day=1_000,
    season_days=20,
)


class World:
    """The latent state of a world, and its rows day by day.

    Every part has its own random numbers, keyed by the seed and the day, so
    that a day can be made without the others, and a change of the rows a day
    leaves users, items and the other domain as they are.

    Args:
      config: the dials.
    """

    def __init__(self, config: WorldConfig = WorldConfig()):
        """Draw the latent state."""
        self.config = config
        users, items = config.users, config.items
        rng = self._rng(_USERS)
        self._users = rng.standard_normal((users, DIMENSIONS))
        # float [U] logit offsets and impressions a user gets, relatively.
        self.user_bias = 0.3 * rng.standard_normal(users)
        self.activity = 1 + rng.pareto(config.user_exponent, users)
        rng = self._rng(_ITEMS)
        # float [I, K], [I], [I]
        self.item_vectors = rng.standard_normal((items, DIMENSIONS))
        self.item_bias = 0.6 * rng.standard_normal(items)
        self.popularity = 1 + rng.pareto(config.item_exponent, items)
        to_category = rng.standard_normal((DIMENSIONS, CATEGORIES))
        # int64 [I]
        self.categories = (self.item_vectors @ to_category).argmax(axis=1)
        rng = self._rng(_ADS_WORLD)
        # float [K, K]
        self.shift = rng.standard_normal((DIMENSIONS, DIMENSIONS))
        self.shift *= config.domain_shift / np.sqrt(DIMENSIONS)
        self.ad_bias = 0.4 * rng.standard_normal(items)
        # bool [I]: the quarter of the items that is advertised.
        self.is_ad = np.zeros(items, bool)
        self.is_ad[rng.permutation(items)[: items // 4]] = True
        rng = self._rng(_KEYWORDS)
        # float [W]
        self.keyword_effects = config.keyword_strength * rng.standard_normal(
            config.keywords
        )
        rng = self._rng(_COLD)
        # int64 [I]: number of the first day of an item, from 0.
        self.first_day = np.zeros(items, np.int64)
        cold = rng.permutation(items)[: int(config.cold_item_share * items)]
        self.first_day[cold] = rng.integers(0, config.days, len(cold))

    def users(self, day: int) -> np.ndarray:
        """Return the vectors of the users on a day, float64 `[U, K]`.

        With seasons they are `sqrt(1 - s) drifted + sqrt(s) seasonal`, s the
        strength: the variance is that of a world without.
        """
        drifted = self._drifted(day // DRIFT_DAYS)
        season = self.season(day)
        if season is None:
            return drifted
        share = self.config.season_strength
        seasonal = self._seasonal(season)
        return np.sqrt(1 - share) * drifted + np.sqrt(share) * seasonal

    def season(self, day: int) -> int | None:
        """Return the season of a day, from 0; None in a world without."""
        if not self.config.season_days:
            return None
        return day // self.config.season_days % self.config.seasons

    def logits(
        self, domain: str, day: int, user: np.ndarray, item: np.ndarray
    ) -> np.ndarray:
        """Return the true logits of impressions, float64 `[N]`.

        Args:
          domain: "natural" or "ads".
          day: the day, from 0.
          user: int `[N]`, user ids.
          item: int `[N]`, item ids.
        """
        users = self.users(day)
        bias = self.user_bias[user] + self.item_bias[item]
        if domain == "ads":
            users = users + users @ self.shift
            bias = 0.5 * bias + self.ad_bias[item]
        match = np.einsum("nk,nk->n", users[user], self.item_vectors[item])
        match /= np.sqrt(DIMENSIONS)
        if domain == "ads":
            return -3.2 + 1.4 * match + bias
        return -2.2 + 1.54 * match + bias

    def rows(self, domain: str, day: int) -> pa.Table:
        """Return the rows of a day of one domain, in order of time.

        Args:
          domain: "natural" or "ads".
          day: the day, from 0.

        Returns:
          A table of `user_id`, `item_id`, `category` and `timestamp` (int64;
          seconds since 1970-01-01 UTC), `click` (uint8, 0 or 1) and `true_ctr`
          (float32); in a world with keywords also `keywords` (lists of int64)
          and their mean effect, `keyword_effect` (float32), which is the same
          information given ideally. No rows before the first day of ads.

        Raises:
          ValueError: the world has no such domain or day.
        """
        config = self.config
        if domain not in features.DOMAINS or not 0 <= day < config.days:
            raise ValueError(
                f"There is no day {day} of {domain!r} in a world of "
                f"{config.days} days and domains {', '.join(features.DOMAINS)}."
            )
        count, weights = config.natural_per_day, self.popularity
        if domain == "ads":
            shown = day >= config.days - config.ads_days
            count = config.ads_per_day if shown else 0
            weights = weights * self.is_ad
        weights = weights * (self.first_day <= day)
        count = count if weights.any() else 0
        rng = self._rng(_ROWS, features.DOMAINS.index(domain), day)
        user = _draw(rng, self.activity, count)
        item = _draw(rng, weights, count)
        seconds = np.sort(rng.integers(0, _DAY_SECONDS, count))
        midnight = (windows.day_number(config.start) + day) * _DAY_SECONDS
        logits = self.logits(domain, day, user, item)
        keywords = self._keywords(domain, day, count)
        if keywords:
            logits = logits + keywords["keyword_effect"].to_numpy()
        ctr = 1 / (1 + np.exp(-logits))
        return pa.table(
            {
                "user_id": user,
                "item_id": item,
                "category": self.categories[item],
                "timestamp": midnight + seconds,
                "click": (rng.random(count) < ctr).astype(np.uint8),
                "true_ctr": ctr.astype(np.float32),
                **keywords,
            }
        )

    def _keywords(
        self, domain: str, day: int, count: int
    ) -> dict[str, pa.Array]:
        """Return the columns of the keywords of a day; none without any."""
        if not self.config.keywords:
            return {}
        place = features.DOMAINS.index(domain)
        rng = self._rng(_KEYWORDS, place, day)
        lengths = rng.integers(0, KEYWORDS_OF_ROW + 1, count)
        flat = rng.integers(0, self.config.keywords, lengths.sum())
        row = np.repeat(np.arange(count), lengths)
        total = np.bincount(row, self.keyword_effects[flat], count)
        effect = total / np.maximum(lengths, 1)
        ends = np.r_[0, np.cumsum(lengths)].astype(np.int32)
        return {
            "keywords": pa.ListArray.from_arrays(pa.array(ends), flat),
            "keyword_effect": pa.array(effect.astype(np.float32)),
        }

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *key])

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def _seasonal(self, season: int) -> np.ndarray:
        return self._rng(_SEASONS, season).standard_normal(self._users.shape)

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def _drifted(self, epoch: int) -> np.ndarray:
        vectors = self._users
        for i in range(1, epoch + 1):
            new = self._rng(_DRIFT, i).standard_normal(vectors.shape)
            kept = np.sqrt(1 - self.config.drift)
            vectors = kept * vectors + np.sqrt(self.config.drift) * new
        return vectors


def generate(
    config: WorldConfig = WorldConfig(),
) -> Iterator[tuple[str, pa.Table]]:
    """Yield `(domain, rows)` of each day in order, natural before ads.

    Days without ads give no ads table. The columns are those of `World.rows`.
    """
    world = World(config)
    for day in range(config.days):
        for domain in features.DOMAINS:
            rows = world.rows(domain, day)
            if rows.num_rows:
                yield domain, rows


def _draw(
    rng: np.random.Generator, weights: np.ndarray, count: int
) -> np.ndarray:
    """Return `count` indices, each drawn in proportion to its weight."""
    ends = np.cumsum(weights)
    where = rng.random(count) * (ends[-1] if count else 0.0)
    return np.searchsorted(ends, where, side="right")
