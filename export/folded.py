"""The served form of a model: a function of table rows, made from its weights.

What training needs costs a server time: batch norm, tables that lie apart, one
operation a layer. The served form gives the same logits from weights that are
put together once, in float64:

- Trained and historical vectors of a table lie side by side, `[trained |
  historical | known]`: one gather an id (`tables`).
- Batch norm is part of the kernels behind it.
- Cross networks and outputs of all heads are one quadratic form, their first
  hidden layers one product (`top`).
- Target attention is two products of matrices (`attention`).

`Folded.rank` does the user's part of many candidates once.

`CTRModel` itself has this form, in float32. Other networks, and kinds of
features that are not known here, are served as they are; `of` tells them apart.

Shapes: B rows, U users, C candidates of all users together, T places of a
sequence, D embedding width, W width of a served table.
"""

import typing

import numpy as np
import tensorflow as tf

from ecdctr_tf import kinds
from ecdctr_tf.export import tables as served_tables
from ecdctr_tf.export.attention import Attention
from ecdctr_tf.export.given_history import Given
from ecdctr_tf.export.top import Layout, Top
from ecdctr_tf.layers.scaled_numbers import ScaledNumbers
from ecdctr_tf.layers.target_attention import TargetAttention
from ecdctr_tf.models.ctr_model import CTRModel
from ecdctr_tf.models.mixture import MixedModel

_KINDS = (
    kinds.Id,
    kinds.Sequence,
    kinds.Dense,
    kinds.Ids,
    kinds.WeightedIds,
    kinds.Vector,
    kinds.Cross,
    kinds.Position,
)
Tensors = dict[str, tf.Tensor]


def of(
    model: CTRModel | MixedModel,
    rows: dict[str, int],
    tables: str = "float32",
    given: Given | None = None,
) -> typing.Any:
    """Return the form of a model that is served: folded if it can be.

    A mixture is folded if all of its experts can be. A folded form keeps no
    table of the model.

    Args:
      model: the model.
      rows: table name -> rows that requests may ask for.
      tables: what tables hold, one of `config.TABLES`.
      given: what requests say of history; None: the tables hold it.

    Raises:
      NotFiniteError: a weight is not finite, or too large for its type.
      ValueError: the model cannot be folded, and tables should not hold
        float32 or history.
    """
    unknown = [m for m in model.members if not _is_known(m)]
    if unknown and tables != "float32":
        raise ValueError(
            "`serving.tables` should be float32 for networks of their own, "
            "kinds of features of their own, and precisions other than "
            f"float32. Received: {tables}, for a {type(unknown[0]).__name__}"
        )
    if unknown and given:
        raise ValueError(
            "`serving.history` should be in_graph for networks of their own, "
            "kinds of features of their own, and precisions other than "
            f"float32. Received: as_input, for a {type(unknown[0]).__name__}"
        )
    if unknown:
        return model
    if isinstance(model, MixedModel):
        return FoldedMixture(model, rows, tables, given)
    return Folded(model, rows, tables, given)


def _is_known(model: CTRModel) -> bool:
    return (
        type(model) is CTRModel
        and model.input_norm.compute_dtype == "float32"
        and all(type(feature) in _KINDS for feature in kinds.of(model.spec))
    )


class _Part(typing.NamedTuple):
    """Inputs of the network that are computed together."""

    # Places among the inputs of the model.
    places: list[int]
    # Whether each candidate has its own; else they are the user's.
    of_candidate: bool


class Folded:
    """A `CTRModel` to score with, at the newest day.

    It is called with what the model is called with, and gives its logits.

    Args:
      model: the model, of which only layers of single features are kept.
      rows: table name -> rows that are asked for.
      tables: what tables hold.
      given: what requests say of history; None: the tables hold it.
    """

    def __init__(
        self,
        model: CTRModel,
        rows: dict[str, int],
        tables: str,
        given: Given | None = None,
    ):
        """Put tables and weights together."""
        self.given = given
        self.spec = given.spec if given else model.spec
        self._features = kinds.by_kind(model.spec)
        self.historical = tuple(model.historical)
        self._table_of = model.embedding.table_of
        self._tables = {
            name: served_tables.made(
                model, name, rows[name], tables, history=given is None
            )
            for name in model.embedding.tables
        }
        self._dim = next(iter(model.embedding.tables.values())).dim
        self._layers: dict[str, typing.Any] = {
            name: Attention(layer)
            if isinstance(layer, TargetAttention)
            else layer
            for name, layer in model.feature_layers.items()
        }
        self._numbers = _numbers(self._features, self._layers)
        self._pairs = [item for _, item in model.products]
        places = _places(model)
        parts = self._parts(places)
        self._of_users = [n for n, p in parts.items() if not p.of_candidate]
        # Those that are multiplied with the user's vectors come first.
        self._of_candidates = self._pairs + [
            name
            for name, part in parts.items()
            if part.of_candidate and name not in self._pairs
        ]
        self._width = {name: len(part.places) for name, part in parts.items()}
        of_users, of_candidates = (
            [place for name in names for place in parts[name].places]
            for names in (self._of_users, self._of_candidates)
        )
        products = [
            place
            for item in self._pairs
            for place in self._places_of_product(item, places)
        ]
        self._top = Top(model, Layout(of_users, of_candidates, products))

    @property
    def variables(self) -> list[tf.Variable]:
        """All that the answers are made of."""
        found = [v for of in self._tables.values() for v in of.variables]
        for layer in self._layers.values():
            found += getattr(layer, "variables", [])
        for group in self._numbers.values():
            found += group.scale.variables
        return found

    def __call__(self, inputs: Tensors) -> tf.Tensor:
        """Return logits, float32 `[B]`; inputs as for `CTRModel`."""
        return self.scored(inputs)[0]

    def rank(self, inputs: Tensors) -> tf.Tensor:
        """Return the logits of candidates of users, float32 `[C]`.

        Args:
          inputs: as for a call, but `[U]` and `[U, T]` of what is the user's,
            and `[C]` and `[C, T]`, the candidates of one user after the other,
            of features `of_candidate`.
        """
        return self.scored(inputs, by_user=True)[0]

    def scored(
        self, inputs: Tensors, by_user: bool = False
    ) -> tuple[tf.Tensor, Tensors]:
        """Return logits, and whether history knows the ids of rows.

        Args:
          inputs: as for a call, or as for `rank`.
          by_user: whether they are as for `rank`.

        Returns:
          The logits, and by feature float32 `[B]`, `[U]` or `[C]`: 1 where
          there are historical vectors, else 0.
        """
        read = self._read(inputs, by_user)
        users = [read[name] for name in self._of_users]
        candidates = [read[name] for name in self._of_candidates]
        beside = [self._beside(read, item) for item in self._pairs]
        if by_user:
            count = tf.shape(inputs[self.spec.user])[0]
            z = tf.concat(candidates, axis=1)
            c, p = _joined(users, count), _joined(beside, count)
            logit = self._top.by_user(c, z, p)
        else:
            pairs = zip(self._pairs, beside, strict=True)
            products = [read[item] * row for item, row in pairs]
            u = tf.concat([*users, *candidates, *products], axis=1)
            logit = self._top.by_row(u)
        return logit, {name: read[name][:, -1] for name in self.historical}

    def recall(
        self, name: str, rows: tf.Tensor, days: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return historical vectors of ids; as `CTRModel.recall`."""
        del days
        wide = self._tables[self._table_of[name]](rows)
        return wide[:, self._dim : -1], wide[:, -1]

    def _parts(self, places: dict[str, list[int]]) -> dict[str, _Part]:
        """Return the parts in the order in which they are computed."""
        parts = {}
        for feature in self._features:
            name = feature.name
            if feature.one_row:
                found = [f"{name}/0"]
                if name in self.historical:
                    found += [f"{name}/history", f"{name}/known"]
            elif type(feature) is kinds.Dense:
                continue
            else:
                found = [n for n in places if n.startswith(f"{name}/")]
            if found:
                parts[name] = _Part(
                    [place for column in found for place in places[column]],
                    feature.of_candidate or self._attends(feature),
                )
        for name, group in self._numbers.items():
            pairs = np.array([places[f"{of}/0"] for of in group.names])
            # The numbers come first, then their indicators.
            parts[name] = _Part(pairs.T.ravel().tolist(), group.of_candidate)
        return parts

    def _attends(self, feature: kinds.Feature) -> bool:
        """Return whether a feature is pooled by attention."""
        return isinstance(
            self._layers.get(f"attention_{feature.name}"), Attention
        )

    def _places_of_product(
        self, item: str, places: dict[str, list[int]]
    ) -> list[int]:
        """Return what the user's served row times the item's holds."""
        name = f"{self.spec.user}*{item}"
        found = places[name] + places.get(f"{name}/history", [])
        return found + [-1] * (self._width[item] - len(found))

    def _beside(self, read: Tensors, item: str) -> tf.Tensor:
        """Return the user's row as wide as an item's."""
        row, width = read[self.spec.user], self._width[item]
        lacking = max(width - row.shape[1], 0)
        if lacking:
            row = tf.pad(row, [[0, 0], [0, lacking]])
        return row if row.shape[1] == width else row[:, :width]

    def _read(self, inputs: Tensors, by_user: bool) -> Tensors:
        """Return the parts by name, each `[B, width]`."""
        rows = self._gathered(inputs)
        embedded = _Narrow(rows, self._dim)
        read: Tensors = {}
        for feature in self._features:
            name = feature.name
            if feature.one_row:
                wide = name in self.historical
                read[name] = rows[name] if wide else embedded[name]
            elif name in self._width:
                found = self._inputs(feature, inputs, embedded, by_user)
                read[name] = (
                    found[0] if len(found) == 1 else tf.concat(found, 1)
                )
        for name, group in self._numbers.items():
            columns = [inputs[of] for of in group.names]
            read[name] = group.scale(tf.stack(columns, axis=1))
        return read

    def _inputs(
        self,
        feature: kinds.Feature,
        inputs: Tensors,
        embedded: "_Narrow",
        by_user: bool,
    ) -> list[tf.Tensor]:
        """Return what the network reads of a feature that is no id."""
        layers, user = self._layers, self.spec.user
        if by_user and self._attends(feature):
            if feature.of_candidate:  # The user is compared with its entries.
                each = tf.shape(inputs[self.spec.item]) // tf.shape(
                    inputs[user]
                )
                query = tf.repeat(embedded[user], each[0], axis=0)
                embedded = _Narrow({**embedded.rows, user: query}, self._dim)
            else:
                name = f"attention_{feature.name}"
                layers = {**layers, name: layers[name].by_user}
        return feature.inputs(inputs, embedded, layers)

    def _gathered(self, inputs: Tensors) -> Tensors:
        """Return the rows of tables by column, `[B, W]` or `[B, T, D]`."""
        read: Tensors = {}
        for name, table in self._table_of.items():
            served, rows = self._tables[table], inputs[name]
            if rows.shape.rank > 1:
                rows = tf.where(rows < 0, served.padding, rows)
            read[name] = served(rows)
            if self.given and name in self.historical:
                read[name] = self.given.widened(name, read[name], inputs)
        return read


class FoldedMixture:
    """A mixture of which all experts are folded.

    Args:
      model: the mixture.
      rows: table name -> rows that are asked for.
      tables: what tables hold.
      given: what requests say of history; None: the tables hold it.
    """

    def __init__(
        self,
        model: MixedModel,
        rows: dict[str, int],
        tables: str,
        given: Given | None = None,
    ):
        """Fold the experts."""
        self.given = given
        self.spec = given.spec if given else model.spec
        self._experts = [
            Folded(expert, rows, tables, given) for expert in model.members
        ]
        self._mixture = model.of(self._experts)
        self.historical = self._mixture.historical
        self._knowing = self._mixture.knowing

    @property
    def variables(self) -> list[tf.Variable]:
        """All that the answers are made of."""
        found = [v for expert in self._experts for v in expert.variables]
        mixture = self._mixture
        return [*found, mixture.weights, mixture.click_logit, mixture.line]

    def __call__(self, inputs: Tensors) -> tf.Tensor:
        """Return logits, float32 `[B]`; as `Folded`."""
        return self._mixed(inputs, by_user=False)

    def rank(self, inputs: Tensors) -> tf.Tensor:
        """Return the logits of candidates of users; as `Folded.rank`."""
        return self._mixed(inputs, by_user=True)

    def recall(
        self, name: str, rows: tf.Tensor, days: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return historical vectors of ids; as `Folded.recall`."""
        return self._knowing.recall(name, rows, days)

    def _mixed(self, inputs: Tensors, by_user: bool) -> tf.Tensor:
        scored = [expert.scored(inputs, by_user) for expert in self._experts]
        logits = [logit for logit, _ in scored]
        known: Tensors = {}
        if self._knowing is not None:
            known = scored[self._experts.index(self._knowing)][1]
        user, item = (
            known.get(name, tf.zeros(tf.shape(inputs[name])))
            for name in (self.spec.user, self.spec.item)
        )
        if by_user:
            user = tf.repeat(user, tf.shape(item)[0] // tf.shape(user)[0])
        slices = tf.cast(2 * user + item, tf.int32)
        return self._mixture.mixed(logits, slices)


class _Narrow(dict):
    """The trained vectors of rows that have historical ones beside them."""

    def __init__(self, rows: Tensors, dim: int):
        self.rows, self._dim = rows, dim
        super().__init__()

    def __missing__(self, name: str) -> tf.Tensor:
        row = self.rows[name]
        self[name] = row
        if row.shape[-1] > self._dim:
            self[name] = row[..., : self._dim]
        return self[name]


class _Group(typing.NamedTuple):
    """Numbers that are scaled together."""

    names: list[str]
    of_candidate: bool
    scale: ScaledNumbers


def _numbers(
    features: list[kinds.Feature], layers: dict[str, typing.Any]
) -> dict[str, _Group]:
    """Return the dense features that are scaled in the same way."""
    groups: dict[tuple[str, bool], list[tuple[str, ScaledNumbers]]] = {}
    for feature in features:
        if type(feature) is kinds.Dense:
            layer = layers.pop(f"scale_{feature.name}")
            key = (layer.transform, feature.of_candidate)
            groups.setdefault(key, []).append((feature.name, layer))
    found = {}
    for (transform, own), members in groups.items():
        scale = ScaledNumbers(transform)
        scale.build(tf.TensorShape([None, len(members)]))
        weights = zip(
            *(layer.get_weights() for _, layer in members), strict=True
        )
        scale.set_weights(
            [np.concatenate(w, axis=-1) if w[0].ndim else w[0] for w in weights]
        )
        names = [name for name, _ in members]
        found[f"{transform}/{own}"] = _Group(names, own, scale)
    return found


def _places(model: CTRModel) -> dict[str, list[int]]:
    """Return the places of columns among the inputs of the network."""
    place, places = 0, {}
    for column in [column for part in model.columns() for column in part]:
        places[column.name] = list(range(place, place + column.width))
        place += column.width
    return places


def _joined(parts: list[tf.Tensor], count: tf.Tensor) -> tf.Tensor:
    """Return parts side by side, `[U, 0]` if there is none."""
    if len(parts) < 2:
        return parts[0] if parts else tf.zeros([count, 0])
    return tf.concat(parts, axis=1)
