"""The one description of the data: tables of embeddings and features of a row.

Writer, parser, model inputs and serving signature are all made from a
`DataSpec`. A table and a feature are different things: the item of an
impression and the items of a behavior sequence are two features on one table.

Besides its features every row holds `click` (0 or 1), `timestamp` (seconds
since 1970-01-01 UTC), the `day` of the partition it lies in, and its `weight`
in losses and metrics (1 by default).
"""

import dataclasses
import functools
import hashlib
import json
import keyword
import pathlib
import re
import typing
from collections.abc import Collection, Iterable

from ecdctr_tf import typed_values

ID_SPACES = ("vocabulary", "hashing")
DTYPES = ("int64", "string")
SIDES = ("user", "item", "context")
# Columns of every row, and arguments of Keras models and exported functions.
RESERVED = (
    "click",
    "timestamp",
    "day",
    "weight",
    "domain",
    "self",
    "training",
)
_LONGEST_NAME = 64
DOMAINS = NATURAL, ADS = ("natural", "ads")
# Column with the number of a natural row's source, such as feed or search; no
# feature can be called so. Sources are numbered from 1; 0 is of rows whose
# source is not known.
SOURCE = "@source"
UNKNOWN_SOURCE = "unknown"
# Column with the weight that a row would have without `sources.shares`.
BASE_WEIGHT = "@base_weight"
# Kind of a feature -> the fields of `FeatureSpec` that only some kinds have.
# What a kind does is said in `ecdctr_tf.kinds`.
KINDS: dict[str, tuple[str, ...]] = {
    "id": ("table",),
    "sequence": ("table", "max_length", "attribute_table", "ages"),
    "dense": ("transform",),
    "ids": ("table", "max_length", "pooling"),
    "weighted_ids": ("table", "max_length", "pooling"),
    "vector": ("length",),
    "cross": ("table", "of"),
    "position": ("table", "default"),
}
# How numbers are scaled, see `layers.scaled_numbers`; the first is the default.
TRANSFORMS = ("standardise", "log1p", "quantiles", "clip")
# How a list of ids becomes one vector.
POOLINGS = ("mean", "sum", "attention")
# Rows of tables are numbers of 32 bits; more than these are no embeddings.
_MOST_BUCKETS = 1_000_000_000
# Blocks hold the length of a list in 16 bits.
_LONGEST_LIST = 65_535
# Value of the unused places of a padded sequence; never a row of a table.
PADDING = -1


def check_choice(
    owner: str, field: str, value: object, choices: Collection[str]
) -> None:
    """Raise a ValueError unless a value is one of the choices."""
    if value not in choices:
        raise ValueError(
            f"`{field}` of {owner} should be one of {', '.join(choices)}. "
            f"Received: {value!r}"
        )


def check_name(what: str, name: str) -> None:
    """Raise a ValueError unless a name can be used everywhere.

    Names become names of files, of layers and of arguments of the exported
    functions.
    """
    if (
        not isinstance(name, str)
        or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)
        or len(name) > _LONGEST_NAME
        or keyword.iskeyword(name)
        or name in RESERVED
    ):
        raise ValueError(
            f"The name of a {what} should start with a letter (A to Z, a to z) "
            "and contain only such letters, digits and underscores, at most "
            f"{_LONGEST_NAME} characters; {', '.join(RESERVED)} and Python's "
            f"keywords are reserved. Received: {name!r}"
        )


def check_names(what: str, names: list[str]) -> None:
    """Raise a ValueError unless each name is valid and there once.

    Names that differ in upper and lower case only count as the same: so they
    do to some file systems and to the arguments of exported functions.
    """
    seen: dict[str, str] = {}
    for name in names:
        check_name(what, name)
        if name.lower() in seen:
            raise ValueError(
                f"Each {what} needs a name of its own; upper and lower case "
                f"count as equal. Received: {seen[name.lower()]!r} and {name!r}"
            )
        seen[name.lower()] = name


def _named(what: str, entries: Iterable[typing.Any], name: str) -> typing.Any:
    """Return the entry of a name; the error lists those there are."""
    known = {entry.name: entry for entry in entries}
    if name not in known:
        raise ValueError(
            f"There is no {what} {name!r}. The {what}s are {', '.join(known)}."
        )
    return known[name]


@dataclasses.dataclass(frozen=True)
class TableSpec:
    """An embedding table and the id space that numbers its rows.

    Example:
      >>> ecdctr_tf.TableSpec("item", dtype="string").ids
      'vocabulary'
    """

    name: str
    # "vocabulary": exact, append-only; "hashing": no files, ids may collide.
    ids: str = "vocabulary"
    # Type of a raw id: "int64" or "string".
    dtype: str = "int64"
    # Rows shared by unknown ids (vocabulary) or by all ids (hashing).
    buckets: int = 1

    def __post_init__(self) -> None:
        """Check the fields."""
        check_name("table", self.name)
        owner = f"table {self.name!r}"
        check_choice(owner, "ids", self.ids, ID_SPACES)
        check_choice(owner, "dtype", self.dtype, DTYPES)
        if not isinstance(self.buckets, int) or not (
            1 <= self.buckets <= _MOST_BUCKETS
        ):
            raise ValueError(
                f"`buckets` of {owner} should be a whole number of at least 1 "
                f"and at most {_MOST_BUCKETS:,}. Received: {self.buckets!r}"
            )

    @property
    def padding(self) -> int | str:
        """What stands in the unused places of a list of raw ids."""
        return -1 if self.dtype == "int64" else ""


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
    """A column of a row.

    In a batch an "id", a "cross" and a "position" are int32 `[B]` (rows of
    their table), "ids", "weighted_ids" and a "sequence" int32 `[B, T]` with
    `PADDING` in unused places, of a sequence the newest entry last, a "dense"
    number float32 `[B]` and a "vector" float32 `[B, length]`, NaN where they
    are missing. Weights, attributes and ages of entries are columns beside
    these.

    Example:
      >>> clicked = ecdctr_tf.FeatureSpec(
      ...     "clicked_items", "sequence", "item", "user", max_length=20
      ... )
      >>> clicked.table, clicked.side
      ('item', 'user')
    """

    name: str
    kind: str = "id"
    # Name of the table of the ids.
    table: str = ""
    # Whose property it is; products of user and item ids are made from it.
    side: str = "context"
    # Whether the tiny pre-training model reads it.
    basic: bool = False
    # Most entries that are kept of a list (T); 0 for kinds of one value.
    max_length: int = 0
    # How ids are pooled: one of `POOLINGS`. Attention weighs them by the item,
    # or by the user where they belong to the item.
    pooling: str = "mean"
    # Table of a second id that each entry of a sequence has, such as its
    # category; empty: none.
    attribute_table: str = ""
    # Whether each entry of a sequence has an age.
    ages: bool = False
    # Numbers of a vector.
    length: int = 0
    # Names of the id features that a cross is made of.
    of: tuple[str, ...] = ()
    # How a number is scaled, one of `TRANSFORMS`; empty: as the first of them.
    transform: str = ""
    # Raw position that requests without one are scored at.
    default: int | str | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        check_name("feature", self.name)
        check_choice(f"feature {self.name!r}", "kind", self.kind, KINDS)
        check_choice(f"feature {self.name!r}", "side", self.side, SIDES)
        for field in dataclasses.fields(self):
            kinds = [k for k, fields in KINDS.items() if field.name in fields]
            if kinds and self.kind not in kinds:
                value = getattr(self, field.name)
                if value != field.default:
                    self._refuse(field.name, f"set for {', '.join(kinds)} only")
        fields = KINDS[self.kind]
        if "table" in fields and not self.table:
            self._refuse("table", "the name of the table of its ids")
        if "max_length" in fields:
            if not 1 <= self.max_length <= _LONGEST_LIST:
                self._refuse("max_length", f"from 1 to {_LONGEST_LIST}")
        if "pooling" in fields and self.pooling not in POOLINGS:
            self._refuse("pooling", f"one of {', '.join(POOLINGS)}")
        if "transform" in fields and self.transform not in ("", *TRANSFORMS):
            self._refuse("transform", f"one of {', '.join(TRANSFORMS)}")
        if "length" in fields and self.length < 1:
            self._refuse("length", "the number of its values, at least 1")
        if "of" in fields and not 2 <= len(set(self.of)) == len(self.of):
            self._refuse("of", "the names of two id features or more")
        if "default" in fields and self.default is None:
            self._refuse("default", "the position that requests are scored at")

    def _refuse(self, field: str, wanted: str) -> typing.NoReturn:
        raise ValueError(
            f"`{field}` of feature {self.name!r} should be {wanted}. "
            f"Received: {getattr(self, field)!r}, kind {self.kind!r}"
        )


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """Tables and features of a data set, shared by both domains.

    Example:
      >>> spec = ecdctr_tf.DataSpec(
      ...     tables=(
      ...         ecdctr_tf.TableSpec("user"),
      ...         ecdctr_tf.TableSpec("item"),
      ...     ),
      ...     features=(
      ...         ecdctr_tf.FeatureSpec("user_id", "id", "user", "user"),
      ...         ecdctr_tf.FeatureSpec("item_id", "id", "item", "item"),
      ...         ecdctr_tf.FeatureSpec("price", "dense"),
      ...     ),
      ... )
      >>> spec.feature("price").kind
      'dense'
      >>> [feature.name for feature in spec.without(["price"]).features]
      ['user_id', 'item_id']
    """

    tables: tuple[TableSpec, ...]
    features: tuple[FeatureSpec, ...]
    # Names of the id features that say who saw what.
    user: str = "user_id"
    item: str = "item_id"
    # float32 columns that only evaluation reads, never a model: the true click
    # probability of a synthetic world.
    evaluation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that names are unique and that every reference resolves."""
        check_names("table", [table.name for table in self.tables])
        names = [feature.name for feature in self.features]
        check_names("feature or evaluation column", [*names, *self.evaluation])
        tables = {table.name for table in self.tables}
        for feature in self.features:
            for table in _tables(feature):
                if table not in tables:
                    raise ValueError(
                        f"The feature {feature.name!r} names the unknown table "
                        f"{table!r}. The tables are {sorted(tables)}."
                    )
            if feature.kind == "cross":
                self._check_cross(feature)
            if feature.kind == "position":
                self._check_position(feature)
        for role in (self.user, self.item):
            if self.feature(role).kind != "id":
                raise ValueError(f"{role!r} should be a feature of kind 'id'.")

    def _check_cross(self, cross: FeatureSpec) -> None:
        """Raise a ValueError unless a cross is made of what there is."""
        if self.table(cross.table).ids != "hashing":
            raise ValueError(
                f"The table {cross.table!r} of the cross {cross.name!r} should "
                'have `ids = "hashing"` and a number of `buckets`.'
            )
        for name in cross.of:
            part = self.feature(name)
            if part.kind != "id" or (cross.basic and not part.basic):
                raise ValueError(
                    f"`of` of the cross {cross.name!r} should name features of "
                    "kind 'id', of a basic cross basic ones. Received: "
                    f"{name!r}"
                )

    def _check_position(self, position: FeatureSpec) -> None:
        """Raise a ValueError unless the default is an id of the table."""
        dtype = self.table(position.table).dtype
        wanted = str if dtype == "string" else int
        given = position.default
        if not isinstance(given, wanted) or isinstance(given, bool):
            raise ValueError(
                f"`default` of feature {position.name!r} should be an id of "
                f"its table {position.table!r}, which is {dtype}. "
                f"Received: {given!r}"
            )

    def feature(self, name: str) -> FeatureSpec:
        """Return the feature of that name.

        Raises:
          ValueError: there is none; the message lists those there are.
        """
        return _named("feature", self.features, name)

    def table(self, name: str) -> TableSpec:
        """Return the table of that name.

        Raises:
          ValueError: there is none; the message lists those there are.
        """
        return _named("table", self.tables, name)

    def basic(self) -> "DataSpec":
        """Return the part that the tiny pre-training model reads.

        Raises:
          ValueError: the user or the item is not basic.
        """
        for role in (self.user, self.item):
            if not self.feature(role).basic:
                raise ValueError(
                    "The tiny pre-training model reads the features with "
                    "`basic = true`, which the user and the item have to be "
                    f"among. {role!r} is not. Set it in the conversion spec "
                    "and convert the logs again, or train models without a "
                    "TPM, such as `ads_only`."
                )
        return self.select([f.name for f in self.features if f.basic])

    def without(self, names: Iterable[str]) -> "DataSpec":
        """Return the spec less the named features.

        Raises:
          ValueError: a name is not that of a feature, or is that of the user,
            of the item, or of a feature that a cross is made of.
        """
        unwanted = {self.feature(name).name for name in names}
        for role in (self.user, self.item):
            if role in unwanted:
                raise ValueError(
                    f"The feature {role!r} cannot be excluded: it says who saw "
                    "what, which each model reads."
                )
        for cross in self.features:
            lost = sorted(unwanted.intersection(cross.of))
            if lost and cross.name not in unwanted:
                raise ValueError(
                    f"The feature {lost[0]!r} cannot be excluded without "
                    f"the cross {cross.name!r}, which is made of it."
                )
        return self.select(
            [f.name for f in self.features if f.name not in unwanted]
        )

    def select(self, names: Iterable[str]) -> "DataSpec":
        """Return the spec of the named features and the tables they use.

        The features that a named cross is made of are kept too.

        Raises:
          ValueError: a name is not that of a feature.
        """
        wanted: set[str] = set()
        for name in names:
            wanted |= {name, *self.feature(name).of}
        features = tuple(f for f in self.features if f.name in wanted)
        used = {table for feature in features for table in _tables(feature)}
        return dataclasses.replace(
            self,
            features=features,
            tables=tuple(t for t in self.tables if t.name in used),
        )

    def fingerprint(self) -> str:
        """Return a hash that changes when the meaning of a column does."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        # As of `dataclasses.asdict`, which copies everything there is.
        text = json.dumps(self, default=_fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, path: str | pathlib.Path) -> None:
        """Write the spec as JSON."""
        fields = dataclasses.asdict(self)
        text = typed_values.to_json(fields, "the data spec", indent=2)
        pathlib.Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "DataSpec":
        """Read a spec from JSON.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: the file is not a spec; the message names the fault.
        """
        path = pathlib.Path(path)
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist. Make a data directory with "
                "`python -m ecdctr_tf.input.convert`."
            )
        try:
            text = path.read_text(encoding="utf-8")
            return cls.from_dict(typed_values.from_json(text))
        except ValueError as error:
            raise ValueError(
                f"{path} is not a data spec: {str(error).rstrip('.')}. Put the "
                "file back, or make what it is of again."
            ) from error

    @classmethod
    def from_dict(cls, values: dict[str, typing.Any]) -> "DataSpec":
        """Return the spec that `dataclasses.asdict` turned into `values`.

        Raises:
          ValueError: a key is unknown or missing, or a value is not valid.
        """
        typed_values.check("The spec", dict, values)
        parts = {}
        for key, kind in (("tables", TableSpec), ("features", FeatureSpec)):
            entries = values.get(key, ())
            typed_values.check(f"`{key}` of the data spec", list, entries)
            owner = f"an entry of {key}"
            parts[key] = [typed_values.make(kind, owner, e) for e in entries]
        return typed_values.make(cls, "the data spec", {**values, **parts})


def _fields(part: typing.Any) -> dict[str, typing.Any]:
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def _tables(feature: FeatureSpec) -> set[str]:
    """Return the tables that a feature names."""
    return {feature.table, feature.attribute_table} - {""}
