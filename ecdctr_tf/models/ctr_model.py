"""One click-through-rate model for TPM, CPM and A-CTR.

Shapes: B batch, T behaviors, D embedding width, N inputs of the network.
"""

import functools
import itertools
import math
import typing
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features, kinds
from ecdctr_tf.layers import replicas
from ecdctr_tf.layers.batch_norm import BatchNorm, of_last_batch
from ecdctr_tf.layers.feature_embedding import FeatureEmbedding
from ecdctr_tf.layers.head import Head, cross_network, crossed
from ecdctr_tf.layers.historical_embedding import (
    HistoricalEmbedding,
    HistoricalTable,
)
from ecdctr_tf.layers.mlp import MLP

# Name of an input, the features that it is made of, and its values `[B, ...]`.
_Input = tuple[str, tuple[str, ...], tf.Tensor]
# Above what rounding makes of a weight of 0, below what is learned.
_IDLE = 1e-4
# Attributes of a model that no checkpoint of it holds.
_KEPT_ELSEWHERE = (
    "sources",
    "history_tables",
    "line",
    "loss_metric",
    "optimizer",
    "table_optimizer",
)


class Column(typing.NamedTuple):
    """An input of the network, which has a place among all of them."""

    name: str
    # Features that it is made of.
    of: tuple[str, ...]
    # Numbers of a row.
    width: int
    # Whether it is looked up in the historical versions.
    recalled: bool = False


class CTRModel(keras.Model):
    """Predict the logit of a click.

    Embeddings of ids, pooled behavior sequences, products of user and item
    embeddings and historical embeddings are normalised together; a DCN-v2 cross
    network and an MLP read them, and scaled numbers, side by side. There may be
    several such heads, each with a loss of its own, whose logits are averaged;
    every second one reads no historical embeddings.

    Args:
      spec: the features that the model reads.
      config: the network.
      table_rows: table name -> rows known.
      capacities: table name -> rows there is room for, to rebuild a model.
      history: table name -> historical vectors; empty without history.
      history_mode: how versions are combined, see `HistoricalEmbedding`.
      history_slots: K, versions combined.
      history_dropout: share of the rows trained on that read no history, so
        that the model can do without.
      l2: penalty on the squared dense kernels.
      table_l2: penalty on the squared embeddings that a batch reads, a row.
      precision: "float32", or "bfloat16" for what cross network and MLP
        compute. Weights and logits are float32 in both.
      seed: of the values that rows of tables start with.
      sources: frozen models that the network reads, see `models.plugged`.

    Reference: E-CDCTR (arXiv 2408.16238); cross network: DCN V2
    (arXiv 2008.13535).

    Example:
      >>> spec = ecdctr_tf.DataSpec(
      ...     tables=(
      ...         ecdctr_tf.TableSpec("user"),
      ...         ecdctr_tf.TableSpec("item"),
      ...     ),
      ...     features=(
      ...         ecdctr_tf.FeatureSpec("user_id", "id", "user", "user"),
      ...         ecdctr_tf.FeatureSpec("item_id", "id", "item", "item"),
      ...     ),
      ... )
      >>> config = ecdctr_tf.ModelConfig(embedding_dim=4, hidden_units=(8,))
      >>> ctr = ecdctr_tf.CTRModel(spec, config, {"user": 50, "item": 9})
      >>> ctr.compile(keras.optimizers.Adam(1e-3), ecdctr_tf.LazyAdam(1e-2))
      >>> rows = {
      ...     "user_id": np.array([1, 2, 1, 3], np.int32),
      ...     "item_id": np.array([4, 4, 5, 6], np.int32),
      ...     "day": np.full(4, 19_700, np.int32),
      ... }
      >>> clicks = np.array([1, 0, 0, 1], np.float32)
      >>> list(ctr.fit(rows, clicks, verbose=0).history)
      ['loss']
      >>> ctr.score(rows).shape.as_list()
      [4]

      The model is a layer of other models too:

      >>> inputs = {n: keras.Input([], dtype="int32", name=n) for n in rows}
      >>> logit = tf.expand_dims(ctr(inputs), 1)
      >>> scaled = keras.layers.Dense(1, activation="sigmoid")(logit)
      >>> other = keras.Model(inputs, scaled)
      >>> other.compile(ecdctr_tf.LazyAdam(1e-3), "binary_crossentropy")
      >>> _ = other.fit(rows, clicks, verbose=0)
      >>> other.predict(rows, verbose=0).shape
      (4, 1)
    """

    def __init__(
        self,
        spec: features.DataSpec,
        config: configs.ModelConfig,
        table_rows: dict[str, int],
        capacities: dict[str, int] | None = None,
        history: Mapping[str, HistoricalTable] | None = None,
        history_mode: str = "single",
        history_slots: int = 1,
        history_dropout: float = 0.0,
        l2: float = 0.0,
        table_l2: float = 0.0,
        precision: str = "float32",
        seed: int = 0,
        sources: "Sequence[CTRModel]" = (),
        **kwargs: typing.Any,
    ):
        """Make the layers."""
        super().__init__(**kwargs)
        policy = configs.PRECISIONS[precision]
        self.spec = spec
        self.sources = list(sources)
        self.table_l2 = table_l2
        on_table: dict[str, str] = {}
        own_layers: dict[str, keras.layers.Layer] = {}
        for feature in kinds.by_kind(spec):
            on_table |= feature.tables(config)
            own_layers |= feature.layers(config)
        self.embedding = FeatureEmbedding(
            on_table, table_rows, config.embedding_dim, capacities, seed
        )
        # Of single features, such as the attention that pools a sequence.
        self.feature_layers = own_layers
        self._products = _products(spec) if config.products else []
        self.history_tables = dict(history or {})
        self.history_dropout = history_dropout
        # One layer a table: what it learns is about the table's vectors.
        of_table = {
            name: HistoricalEmbedding(history_mode, history_slots)
            for name in self.history_tables
        }
        self.historical = {
            f.name: of_table[f.table]
            for f in kinds.ids(spec)
            if f.basic and f.table in of_table
        }
        self.input_norm = self._make_norm(config, policy)
        self.cross = cross_network(config.cross_layers, l2, policy)
        # First and one past the last of the inputs that are history.
        self._recalled = (0, 0)
        self.more_heads: list[Head] = []
        self._make_top(config, l2, policy)
        # What the logits of heads are multiplied by in scoring, and the shift,
        # see `transfer.calibration`; the model is trained without.
        heads = 1 + len(self.more_heads)
        self.line = tf.Variable(
            [1 / heads] * heads + [0.0], trainable=False, name="line"
        )
        self.loss_metric = keras.metrics.Mean("loss")

    def _make_norm(
        self, config: configs.ModelConfig, policy: str
    ) -> keras.layers.Layer:
        """Return the layer that normalises the inputs."""
        return BatchNorm(momentum=config.batch_norm_momentum, dtype=policy)

    def _make_top(
        self, config: configs.ModelConfig, l2: float, policy: str
    ) -> None:
        """Make what stands beside and on top of the cross network."""
        self.mlp = MLP(
            config.hidden_units, config.batch_norm_momentum, l2, dtype=policy
        )
        self.head = keras.layers.Dense(1, name="head")
        self.more_heads = [
            Head(
                config.hidden_units,
                config.cross_layers,
                config.batch_norm_momentum,
                l2,
                dtype=policy,
            )
            for _ in range(config.heads - 1)
        ]

    def call(
        self,
        inputs: dict[str, tf.Tensor],
        training: bool | None = None,
        every_head: bool = False,
    ) -> tf.Tensor:
        """Return logits, float32 `[B]`.

        Args:
          inputs: feature name -> int32 `[B]`, int32 `[B, T]` or float32
            `[B]`, and `day` int32 `[B]`, as `input.streams.batches` gives;
            for joint models also `domain` int32 `[B]`, places in
            `features.DOMAINS`.
          training: whether batch norm uses and updates batch statistics, and
            logits are not calibrated by `line`.
          every_head: whether to return the logits of each head, float32
            `[B, heads]`, not calibrated, instead of what they come to.
        """
        logits = self._logits(inputs, training)  # [B, heads]
        if every_head:
            return logits
        if training:
            return tf.reduce_mean(logits, axis=1)
        return combined(logits, self.line)

    def _logits(
        self, inputs: dict[str, tf.Tensor], training: bool | None
    ) -> tf.Tensor:
        """Return the logits of each head, `[B, heads]`."""
        _, x = self._read(inputs, training)
        return self._top(x, inputs.get("domain"), training)

    def _read(
        self, inputs: dict[str, tf.Tensor], training: bool | None
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Return embeddings by feature, and all inputs normalised, `[B, N]`."""
        embedded = self.embedding(inputs, training=training)
        if training and self.table_l2:
            squares = [tf.reduce_sum(tf.square(e)) for e in embedded.values()]
            rows = tf.cast(tf.shape(inputs[self.spec.item])[0], tf.float32)
            self.add_loss(self.table_l2 * tf.add_n(squares) / rows)
        x, scaled = self._inputs(inputs, embedded, training)
        x = self._normalise(x, inputs.get("domain"), training)
        # Batch norm would blow up what varies in few of the rows.
        scaled = [tf.cast(part, x.dtype) for part in scaled]
        return embedded, tf.concat([x, *scaled], axis=1)

    def _normalise(
        self, x: tf.Tensor, domain: tf.Tensor | None, training: bool | None
    ) -> tf.Tensor:
        """Return inputs normalised by the statistics of batches."""
        del domain
        return self.input_norm(x, training=training)

    def _top(
        self, x: tf.Tensor, domain: tf.Tensor | None, training: bool | None
    ) -> tf.Tensor:
        """Return the logits of each head, `[B, heads]`, of inputs `[B, N]`.

        Args:
          x: the normalised inputs.
          domain: int32 `[B]`, places in `features.DOMAINS`; None where the
            model does not ask for it.
          training: as for `call`.
        """
        del domain
        # The order in which layers are built decides their first weights.
        top = self._crossed(x)
        top = [self.mlp(x, training=training), *top]
        logits = [self.head(tf.concat(top, axis=1))]
        without = x
        if self.more_heads and self.historical:
            start, stop = self._recalled
            recalled = tf.zeros_like(x[:, start:stop])
            parts = [x[:, :start], recalled, x[:, stop:]]
            without = tf.concat(parts, axis=1)
        for place, head in enumerate(self.more_heads, 1):
            read = without if place % 2 else x
            logits.append(head(read, training=training))
        return tf.concat(logits, axis=1)

    def _crossed(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return what the cross network makes of `[B, N]`; none without it."""
        return crossed(x, self.cross)

    def _inputs(
        self,
        inputs: dict[str, tf.Tensor],
        embedded: dict[str, tf.Tensor],
        training: bool | None,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return what is to be normalised, and what is scaled already."""
        columns, recalled, scaled = self._named_inputs(
            inputs, embedded, training
        )
        start, width = (
            sum(tensor.shape[1] for *_, tensor in part)
            for part in (columns, recalled)
        )
        self._recalled = start, start + width
        columns += recalled
        normalised = tf.concat([tensor for *_, tensor in columns], axis=1)
        return normalised, [tensor for *_, tensor in scaled]

    def _named_inputs(
        self,
        inputs: dict[str, tf.Tensor],
        embedded: dict[str, tf.Tensor],
        training: bool | None,
    ) -> tuple[list[_Input], list[_Input], list[_Input]]:
        """Return what `_inputs` does, each with its name and its features.

        Returns:
          What is normalised, first without and then from history, and what is
          scaled already.
        """
        ids: list[_Input] = []
        others: list[_Input] = []
        scaled: list[_Input] = []
        for feature in kinds.by_kind(self.spec):
            read = feature.inputs(inputs, embedded, self.feature_layers)
            others_or_scaled = scaled if feature.scaled else others
            (ids if feature.one_row else others_or_scaled).extend(
                (f"{feature.name}/{i}", (feature.name,), tensor)
                for i, tensor in enumerate(read)
            )
        columns = [*ids, *self._product_columns(embedded, ""), *others]
        dropped = self._dropped(inputs) if training else None
        recalled: dict[str, tf.Tensor] = {}
        historical: list[_Input] = []
        for name, layer in self.historical.items():
            table = self.history_tables[self.spec.feature(name).table]
            recalled[name], flag = layer(
                inputs[name], inputs["day"], table, dropped
            )
            historical += [
                (f"{name}/history", (name,), recalled[name]),
                (f"{name}/known", (name,), flag),
            ]
        historical += self._product_columns(recalled, "/history")
        return columns, historical, scaled

    def recall(
        self, name: str, rows: tf.Tensor, days: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return historical vectors of ids, and whether there are any.

        Args:
          name: a feature with history.
          rows: int32 `[B]`, rows of its table.
          days: int32 `[B]`, days since 1970-01-01.

        Returns:
          float32 `[B, D]`, zeros without history, and float32 `[B]`: 1 where
          there is history, else 0.
        """
        table = self.history_tables[self.spec.feature(name).table]
        vectors, flag = self.historical[name](rows, days, table)
        return vectors, tf.squeeze(flag, axis=1)

    def columns(self) -> tuple[list[Column], list[Column]]:
        """Return what batch norm normalises, and what is scaled already.

        The cross network and the MLP read the first, then the second.
        """
        row = self._made_up_row()
        columns, recalled, scaled = (
            [Column(n, of, t.shape[1], place == 1) for n, of, t in part]
            for place, part in enumerate(
                self._named_inputs(row, self.embedding(row), False)
            )
        )
        return [*columns, *recalled], scaled

    def idle(self) -> set[str]:
        """Return the features that the weights do not read yet.

        So are those that were added after training, until they are learned.
        """
        columns = list(itertools.chain(*self.columns()))
        mlps = [self.mlp, *(head.mlp for head in self.more_heads)]
        kernels = [mlp.dense[0].kernel.numpy() for mlp in mlps if mlp.dense]
        width = sum(column.width for column in columns)
        if not kernels or any(len(kernel) != width for kernel in kernels):
            return set()  # The MLP reads something else.
        kernel = np.concatenate(kernels, axis=1)
        used: dict[str, bool] = {}
        place = 0
        for column in columns:
            rows = kernel[place : place + column.width]
            place += column.width
            reads = bool(np.abs(rows).max() > _IDLE)
            for name in column.of:
                used[name] = used.get(name, False) or reads
        return {name for name, is_used in used.items() if not is_used}

    def _dropped(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor | None:
        """Return the rows that are to do without history, bool `[B]`, or None.

        Which they are depends on the user, the item and the day only: a run
        that is taken up again drops the same ones.
        """
        if not self.historical or not self.history_dropout:
            return None
        keys = (inputs[n] for n in (self.spec.user, self.spec.item, "day"))
        row = tf.stack([tf.cast(key, tf.int64) for key in keys], axis=1)
        place = tf.bitcast(tf.fingerprint(row)[:, :2], tf.uint16)
        return tf.cast(place, tf.float32) < self.history_dropout * 2**16

    def _product_columns(
        self, vectors: dict[str, tf.Tensor], ending: str
    ) -> list[_Input]:
        return [
            (
                f"{user}*{item}{ending}",
                (user, item),
                vectors[user] * vectors[item],
            )
            for user, item in self._products
            if user in vectors and item in vectors
        ]

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        table_optimizer: keras.optimizers.Optimizer,
        **kwargs: typing.Any,
    ) -> None:
        """Set the optimizers of dense weights and of embedding tables."""
        super().compile(optimizer=optimizer, **kwargs)
        self.table_optimizer = table_optimizer

    @property
    def products(self) -> list[tuple[str, str]]:
        """The pairs of ids whose embeddings are multiplied with each other."""
        return list(self._products)

    @property
    def members(self) -> "list[CTRModel]":
        """The models that its answers are made of: itself alone."""
        return [self]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The mean loss: all that `fit` resets at the start of a window."""
        return [self.loss_metric]

    def split_variables(self) -> tuple[list[tf.Variable], list[tf.Variable]]:
        """Return the trained dense weights and the trained tables."""
        tables = list(self.embedding.trainable_variables)
        references = {v.ref() for v in tables}
        dense = [
            v for v in self.trainable_variables if v.ref() not in references
        ]
        return dense, tables

    def train_step(
        self, data: tuple[dict[str, tf.Tensor], tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Take one step on `(inputs, clicks)`.

        Rows count by `weight` float32 `[B]` among the inputs, alike without it.
        The step is as large as it would be by `features.BASE_WEIGHT`, if that
        is there: a source has its share in all steps together, however its
        rows are spread over them.
        """
        inputs, clicks = data
        weights = inputs.get("weight", tf.ones_like(clicks))
        base = inputs.get(features.BASE_WEIGHT, weights)
        with tf.GradientTape() as tape:
            logits = self(inputs, training=True, every_head=True)
            # Each head learns by itself, so that their mean is calmer.
            losses = [
                log_loss(clicks, of_head, weights, base)
                for of_head in tf.unstack(logits, axis=1)
            ]
            loss = tf.add_n(losses) / len(losses)
            total = _share_of_loss(loss, self.losses, base)
        dense, tables = self.split_variables()  # The first call makes them.
        dense_gradients, table_gradients = tape.gradient(total, (dense, tables))
        self.optimizer.apply_gradients(zip(dense_gradients, dense, strict=True))
        self.table_optimizer.apply_gradients(
            zip(table_gradients, tables, strict=True)
        )
        self.loss_metric.update_state(loss, tf.reduce_sum(base))
        return {"loss": self.loss_metric.result()}

    @tf.function(reduce_retracing=True)
    def train_steps(self, batches: typing.Any, steps: tf.Tensor) -> tf.Tensor:
        """Take steps on the next batches of an iterator.

        A step goes on while the batch after it is fetched.

        Args:
          batches: iterator of what `input.streams.batches` gives.
          steps: int32, number of steps, at least 1.

        Returns:
          float64, seconds spent waiting for batches; not a number where
            operations are made deterministic, which forbids clocks.
        """
        # Only the loop below is Python code that the graph has to repeat.
        take_step = tf.autograph.experimental.do_not_convert(self.train_step)
        asked = _now()
        with tf.control_dependencies([asked]):
            batch = batches.get_next()
        waited = _passed(asked, batch)
        for step in tf.range(steps):
            following = batch
            if step + 1 < steps:
                following = batches.get_next()
            losses = take_step(batch)
            with tf.control_dependencies(tf.nest.flatten(losses)):
                asked = _now()
            waited += _passed(asked, following)
            batch = following
        return waited

    def score(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return click probabilities, float32 `[B]`; inputs as for `call`."""
        return tf.sigmoid(combined(self.logits(inputs), self.line))

    @tf.function(reduce_retracing=True, autograph=False)
    def logits(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return logits of the heads, `[B, heads]`; inputs as for `call`."""
        return self(inputs, training=False, every_head=True)

    def parts(self) -> dict[str, tf.Module]:
        """Return by name what a checkpoint of the model holds.

        That is every layer, and list or dict of layers, that is a public
        attribute of the model. Historical vectors and the models in `sources`
        are left out: they are kept where they were published.
        """
        return {
            name: child
            for name, child in tf.train.TrackableView.children(self).items()
            if not name.startswith("_")
            and name not in _KEPT_ELSEWHERE
            # Keras keeps functions of `fit` too.
            and (isinstance(child, keras.layers.Layer) or not callable(child))
        }

    def own_layers(self, kind: type) -> list[keras.layers.Layer]:
        """Return the layers of a class, less those of `sources`."""
        of_sources = {
            id(layer) for model in self.sources for layer in model.submodules
        }
        return [
            layer
            for layer in self.submodules
            if isinstance(layer, kind) and id(layer) not in of_sources
        ]

    def estimate_statistics(self, batches: tf.data.Dataset) -> None:
        """Estimate batch norm's moving statistics anew; train no weight.

        They become the plain means of those of the batches, and stay as they
        are if there are none.

        Args:
          batches: what `input.streams.batches` gives; clicks are not read.
        """
        norms = self.own_layers(BatchNorm)
        statistics = [
            v for n in norms for v in (n.moving_mean, n.moving_variance)
        ]
        with of_last_batch(norms):
            sums, seen = self._summed(batches, statistics)
        if seen:
            for variable, total in zip(statistics, sums, strict=True):
                variable.assign(tf.cast(total / seen, variable.dtype))

    @tf.function(reduce_retracing=True)
    def _summed(
        self, batches: tf.data.Dataset, statistics: list[tf.Variable]
    ) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
        """Run batches in training mode, one after the other.

        Args:
          batches: as for `estimate_statistics`.
          statistics: the variables that a batch leaves its statistics in.

        Returns:
          Their sums over the batches, float64, and how many batches there were.
        """
        # Only the loop below is Python code that the graph has to repeat.
        call = tf.autograph.experimental.do_not_convert(self.__call__)
        sums = tuple(tf.zeros(v.shape, tf.float64) for v in statistics)
        seen = tf.zeros([], tf.float64)
        for inputs, _ in batches:
            call(inputs, training=True)
            sums = tuple(
                total + tf.cast(variable, tf.float64)
                for total, variable in zip(sums, statistics, strict=True)
            )
            seen += 1
        return sums, seen

    def shift(self, logit: float) -> None:
        """Add a number to the logits of all rows."""
        for head in (self.head, *(of.head for of in self.more_heads)):
            head.bias.assign_add([logit])

    def lacking(self, rows: int = 0) -> list[str]:
        """Return the features whose statistics are not all known yet.

        Args:
          rows: how many rows the model has been trained on.
        """
        return [
            feature.name
            for feature in kinds.of(self.spec)
            if feature.lacks(self.feature_layers, rows)
        ]

    def unseen(self) -> list[str]:
        """Return the features that were the same in all rows so far."""
        return [
            feature.name
            for feature in kinds.of(self.spec)
            if feature.unseen(self.feature_layers)
        ]

    def adapt(self, rows: Mapping[str, np.ndarray]) -> None:
        """Take the statistics of numbers that are not known yet from rows.

        Until then, numbers have no effect. What is known stays.

        Args:
          rows: the columns of features as `call` reads them, those of
            `lacking` at least.
        """
        for feature in kinds.of(self.spec):
            if feature.name in rows and feature.lacks(self.feature_layers):
                feature.adapt(rows, self.feature_layers)

    def build_from_spec(self) -> "CTRModel":
        """Make all variables by one call on made-up rows; return the model."""
        self(self._made_up_row(), training=False)
        return self

    def _made_up_row(self) -> dict[str, tf.Tensor]:
        """Return what `call` reads of two rows, all of it 0."""
        row = {name: tf.zeros([2], tf.int32) for name in ("day", "domain")}
        for feature in kinds.of(self.spec):
            for name, column in feature.columns().items():
                row[name] = tf.zeros([2, *column.shape], column.dtype)
        return row


def combined(logits: tf.Tensor, line: tf.Variable) -> tf.Tensor:
    """Return what the logits of heads come to in scoring, `[B]`.

    Args:
      logits: `[B, heads]`.
      line: what each is multiplied by, and a shift, `[heads + 1]`.
    """
    return tf.linalg.matvec(logits, line[:-1]) + line[-1]


@functools.cache
def _has_clock() -> bool:
    try:
        tf.timestamp()
    except tf.errors.FailedPreconditionError:
        return False
    return True


def _now() -> tf.Tensor:
    """Return the time, float64 seconds; not a number without a clock."""
    with tf.init_scope():
        has_clock = _has_clock()
    return tf.timestamp() if has_clock else tf.constant(math.nan, tf.float64)


def _passed(since: tf.Tensor, batch: typing.Any) -> tf.Tensor:
    """Return the seconds from a time of `_now` until a batch is there."""
    with tf.control_dependencies([since, *tf.nest.flatten(batch)]):
        return _now() - since


def log_loss(
    clicks: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    base: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the mean binary cross-entropy of logits, a scalar.

    Args:
      clicks: float32 `[B]`, 0 or 1.
      logits: float32 `[B]`.
      weights: float32 `[B]`, at least 0; None weighs all rows alike. The mean
        is by weights, so the step does not depend on their scale, and is 0 if
        all of them are.
      base: float32 `[B]`, weights whose sum the weighted losses are divided by;
        None: `weights`.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(clicks, logits)
    if weights is None:
        return tf.reduce_mean(losses)
    total = tf.reduce_sum(weights * losses)
    base = weights if base is None else base
    return tf.math.divide_no_nan(total, tf.reduce_sum(base))


def _share_of_loss(
    loss: tf.Tensor, more: list[tf.Tensor], base: tf.Tensor
) -> tf.Tensor:
    """Return what a replica adds to the loss of a batch, a scalar.

    Args:
      loss: the mean loss of its rows.
      more: penalties and further losses.
      base: float32 `[B]`, weights by which its rows are averaged.
    """
    count = replicas.count()
    if count == 1:
        return tf.add_n([loss, *more])
    own = tf.reduce_sum(base)
    share = tf.math.divide_no_nan(own, replicas.total(own))
    return tf.add_n([share * loss, *(part / count for part in more)])


def _products(spec: features.DataSpec) -> list[tuple[str, str]]:
    """Return the pairs of the user with each basic id of the item."""
    return [
        (spec.user, f.name)
        for f in kinds.ids(spec)
        if f.side == "item" and f.basic
    ]
