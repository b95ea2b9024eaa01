"""The one description of the data: tables of embeddings and features of a row.

Writer, parser, model inputs and serving signature are all made from a
`DataSpec`. A table and a feature are different things: the item of an
impression and the items of a behavior sequence are two features on one table.

Besides its features every row holds `click` (0 or 1), `timestamp` (seconds
since 1970-01-01 UTC) and the `day` of the partition it lies in.
"""

import dataclasses
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
RESERVED = ("click", "timestamp", "day", "domain", "self", "training")
_LONGEST_NAME = 64
DOMAINS = NATURAL, ADS = ("natural", "ads")
# Kind of a feature -> the fields of `FeatureSpec` that only some kinds have.
# What a kind does is said in `ecdctr_tf.kinds`.
KINDS: dict[str, tuple[str, ...]] = {
    "id": ("table",),
    "sequence": ("table", "max_length"),
    "dense": (),
}
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


def _having(field: str) -> str:
    """Return the kinds that have a field, for messages."""
    return ", ".join(kind for kind, fields in KINDS.items() if field in fields)


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
        if not isinstance(self.buckets, int) or self.buckets < 1:
            raise ValueError(
                f"`buckets` of {owner} should be a whole number of at least 1. "
                f"Received: {self.buckets!r}"
            )

    @property
    def padding(self) -> int | str:
        """What stands in the unused places of a list of raw ids."""
        return -1 if self.dtype == "int64" else ""


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
    """A column of a row.

    In a batch an "id" is int32 `[B]` (rows of its table), a "sequence" int32
    `[B, T]` with the newest entry last and `PADDING` in unused places, and a
    "dense" number float32 `[B]`.

    Example:
      >>> clicked = ecdctr_tf.FeatureSpec(
      ...     "clicked_items", "sequence", "item", "user", max_length=20
      ... )
      >>> clicked.table, clicked.side
      ('item', 'user')
    """

    name: str
    kind: str = "id"
    # Name of the table that an id or the entries of a sequence belong to.
    table: str = ""
    # Whose property it is; products of user and item ids are made from it.
    side: str = "context"
    # Whether the tiny pre-training model reads it.
    basic: bool = False
    # Longest sequence kept (T), in entries; 0 for other kinds.
    max_length: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        check_name("feature", self.name)
        owner = f"feature {self.name!r}"
        check_choice(owner, "kind", self.kind, KINDS)
        check_choice(owner, "side", self.side, SIDES)
        if ("table" in KINDS[self.kind]) != (self.table != ""):
            raise ValueError(
                f"`table` of {owner} should be set for the kinds "
                f"{_having('table')} and empty for others. Received: "
                f"{self.table!r}, kind {self.kind!r}"
            )
        has_length = "max_length" in KINDS[self.kind]
        if self.max_length < 0 or has_length != (self.max_length > 0):
            raise ValueError(
                f"`max_length` of {owner} should be positive for the kinds "
                f"{_having('max_length')} and 0 for others. Received: "
                f"{self.max_length}, kind {self.kind!r}"
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
            if feature.table and feature.table not in tables:
                raise ValueError(
                    f"The feature {feature.name!r} names the unknown table "
                    f"{feature.table!r}. The tables are {sorted(tables)}."
                )
        for role in (self.user, self.item):
            if self.feature(role).kind != "id":
                raise ValueError(f"{role!r} should be a feature of kind 'id'.")

    def feature(self, name: str) -> FeatureSpec:
        """Return the feature of that name.

        Raises:
          ValueError: there is none; the message lists those there are.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        raise ValueError(
            f"There is no feature {name!r}. The features are "
            f"{', '.join(f.name for f in self.features)}."
        )

    def table(self, name: str) -> TableSpec:
        """Return the table of that name.

        Raises:
          ValueError: there is none; the message lists those there are.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise ValueError(
            f"There is no table {name!r}. The tables are "
            f"{', '.join(t.name for t in self.tables)}."
        )

    def basic(self) -> "DataSpec":
        """Return the part that the tiny pre-training model reads."""
        return self.select([f.name for f in self.features if f.basic])

    def without(self, names: Iterable[str]) -> "DataSpec":
        """Return the spec less the named features.

        Raises:
          ValueError: a name is not that of a feature, or is that of the user
            or the item.
        """
        unwanted = {self.feature(name).name for name in names}
        for role in (self.user, self.item):
            if role in unwanted:
                raise ValueError(
                    f"The feature {role!r} cannot be excluded: it says who saw "
                    "what, which each model reads."
                )
        return self.select(
            [f.name for f in self.features if f.name not in unwanted]
        )

    def select(self, names: Iterable[str]) -> "DataSpec":
        """Return the spec of the named features and the tables they use.

        Raises:
          ValueError: a name is not that of a feature.
        """
        wanted = {self.feature(name).name for name in names}
        features = tuple(f for f in self.features if f.name in wanted)
        used = {feature.table for feature in features}
        return dataclasses.replace(
            self,
            features=features,
            tables=tuple(t for t in self.tables if t.name in used),
        )

    def fingerprint(self) -> str:
        """Return a hash that changes when the meaning of a column does."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
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
            raise ValueError(f"{path} is not a data spec: {error}") from error

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
