import dataclasses

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features
from ecdctr_tf.layers.batch_norm import BatchNorm, of_last_batch
from ecdctr_tf.layers.historical_embedding import (
    HistoricalEmbedding,
    HistoricalTable,
)
from ecdctr_tf.models.ctr_model import CTRModel, log_loss
from ecdctr_tf.optimizers.lazy_adam import LazyAdam
from ecdctr_tf.transfer import checkpoint

SPEC = features.DataSpec(
    tables=(
        features.TableSpec("user"),
        features.TableSpec("item"),
        features.TableSpec("category"),
    ),
    features=(
        features.FeatureSpec("user_id", "id", "user", "user", basic=True),
        features.FeatureSpec("item_id", "id", "item", "item", basic=True),
        features.FeatureSpec("category", "id", "category", "item"),
        features.FeatureSpec(
            "clicked", "sequence", "item", "user", max_length=3
        ),
        features.FeatureSpec("price", "dense"),
    ),
)
ROWS = {"user": 6, "item": 8, "category": 4}
CONFIG = configs.ModelConfig(embedding_dim=4, hidden_units=(8,), heads=1)
TPM = dataclasses.replace(
    CONFIG, cross_layers=0, attention=False, history=False
)


def history():
    """Return two versions, seen from days 10 and 20, of users and items."""
    random = np.random.default_rng(3)
    return {
        table: HistoricalTable(
            random.normal(size=[2, ROWS[table], 5]),
            np.arange(ROWS[table]) > [[2], [0]],
            [10, 20],
        )
        for table in ("user", "item")
    }


def made(config=CONFIG, spec=SPEC, **kwargs):
    """Return a model whose weights are large enough to be seen."""
    model = CTRModel(spec, config, ROWS, **kwargs).build_from_spec()
    random = np.random.default_rng(4)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 0.5, variable.shape))
    model.adapt({"price": random.normal(size=100)})
    return model


def rows(count=6, seed=0):
    random = np.random.default_rng(seed)
    clicked = random.integers(1, 8, [count, 3])
    clicked[0] = -1
    clicked[1:, 2] = -1
    return {
        "user_id": tf.constant(random.integers(1, 6, count), tf.int32),
        "item_id": tf.constant(random.integers(1, 8, count), tf.int32),
        "category": tf.constant(random.integers(1, 4, count), tf.int32),
        "clicked": tf.constant(clicked, tf.int32),
        "price": tf.constant(random.normal(size=count), tf.float32),
        "day": tf.constant([25] * count, tf.int32),
    }


def compiled(model):
    adam = keras.optimizers.Adam(0.02, jit_compile=False)
    model.compile(adam, LazyAdam(0.05))
    return model


class CTRModelTest(tf.test.TestCase):
    def test_call_gives_a_logit_a_row(self):
        for mode in HistoricalEmbedding.MODES:
            model = made(history=history(), history_mode=mode, history_slots=2)
            inputs = rows()
            logits = model(inputs)
            self.assertEqual(logits.shape, [6])
            self.assertEqual(logits.dtype, tf.float32)
            one = model({n: v[3:4] for n, v in inputs.items()})
            self.assertEqual(one.shape, [1])
            self.assertAllClose(one[0], logits[3], 1e-5, 1e-5)

    def test_score_is_the_sigmoid_of_call(self):
        model, inputs = made(history=history()), rows()
        expected = 1 / (1 + np.exp(-model(inputs).numpy()))
        self.assertAllClose(model.score(inputs), expected, 1e-5)

    def test_dropped_rows_read_no_history_in_training_only(self):
        inputs = rows(2000)
        model = made(history=history(), history_dropout=0.3)
        dropped = model._dropped(inputs).numpy()
        self.assertBetween(dropped.mean(), 0.1, 0.5)  # of at most 35 pairs
        self.assertAllEqual(model._dropped(inputs), dropped)
        width = model._inputs(inputs, model.embedding(inputs), True)[0].shape[1]
        kept = made(history=history())
        without = made(history=history())
        for table in without.history_tables.values():
            table.clear()
        read, every, none = (
            m._inputs(inputs, m.embedding(inputs), training)[0].numpy()
            for m, training in ((model, True), (kept, True), (without, True))
        )
        self.assertEqual(every.shape[1], width)
        self.assertAllEqual(read[dropped], none[dropped])
        self.assertAllEqual(read[~dropped], every[~dropped])
        self.assertNotAllClose(every[dropped], none[dropped])
        scored, _ = model._inputs(inputs, model.embedding(inputs), False)
        self.assertAllEqual(scored, every)
        self.assertIsNone(kept._dropped(inputs))

    def test_which_rows_are_dropped_depends_on_user_item_and_day(self):
        model = made(history=history(), history_dropout=0.5)
        inputs = {
            "user_id": tf.range(400) % 5 + 1,
            "item_id": tf.range(400) % 7 + 1,
            "day": tf.range(400) // 35 + 20,
        }
        dropped = model._dropped(inputs).numpy()
        self.assertBetween(dropped.mean(), 0.4, 0.6)
        backwards = {name: v[::-1] for name, v in inputs.items()}
        self.assertAllEqual(model._dropped(backwards), dropped[::-1])
        later = {**inputs, "day": inputs["day"] + 50}
        self.assertNotAllEqual(model._dropped(later), dropped)

    def test_every_input_changes_the_logit(self):
        model, inputs = made(history=history()), rows()
        logits = model(inputs).numpy()
        for feature in SPEC.features:
            other = dict(inputs)
            if feature.kind == "dense":
                other[feature.name] = inputs[feature.name] + 1
            else:
                top = ROWS[feature.table] - 1
                shifted = inputs[feature.name] % top + 1
                padding = inputs[feature.name] < 0
                other[feature.name] = tf.where(padding, -1, shifted)
            changed = np.abs(model(other).numpy() - logits) > 1e-6
            # The first row has no behaviors.
            first = 1 if feature.kind == "sequence" else 0
            self.assertTrue(changed[first:].all(), feature.name)

    def test_day_decides_what_history_is_seen(self):
        model, inputs = made(history=history()), rows()
        logits = {}
        for day in (9, 10, 19, 20, 99):
            inputs["day"] = tf.fill([6], day)
            logits[day] = model(inputs).numpy()
        self.assertAllEqual(logits[10], logits[19])
        self.assertAllEqual(logits[20], logits[99])
        self.assertTrue((np.abs(logits[19] - logits[20]) > 1e-6).all())
        # Users and items up to row 2 are not in the first version.
        seen = np.maximum(inputs["user_id"], inputs["item_id"]) > 2
        self.assertAllEqual(np.abs(logits[9] - logits[10]) > 1e-6, seen)

    def test_without_history_day_and_flags_are_not_read(self):
        model = made()
        inputs = rows()
        del inputs["day"]
        # Three ids, user x item, the pooled interest; price is scaled already.
        self.assertEqual(model(inputs).shape, [6])
        self.assertEqual(model.input_norm.gamma.shape, [3 * 4 + 4 + 4])
        # Two vectors of width 5 with their flags, and their product.
        with_history = made(history=history())
        self.assertEqual(
            with_history.input_norm.gamma.shape, [20 + 2 * (5 + 1) + 5]
        )

    def test_gradients_reach_all_that_is_trained_and_no_history(self):
        model = made(history=history(), history_mode="attention")
        with tf.GradientTape() as tape:
            logits = model(rows(64), training=True)
            loss = log_loss(tf.cast(tf.range(64) % 2, tf.float32), logits)
        variables = model.trainable_variables
        frozen = {
            v.ref() for t in model.history_tables.values() for v in t.variables
        }
        self.assertFalse(frozen & {v.ref() for v in variables})
        for variable, gradient in zip(
            variables, tape.gradient(loss, variables), strict=True
        ):
            self.assertIsNotNone(gradient, variable.name)
            self.assertTrue(np.isfinite(tf.convert_to_tensor(gradient)).all())

    def test_split_variables_are_all_trained_variables_once(self):
        model = made(history=history())
        dense, tables = model.split_variables()
        self.assertLen(tables, 3)
        both = [v.ref() for v in (*dense, *tables)]
        self.assertCountEqual(
            both, [v.ref() for v in model.trainable_variables]
        )

    def test_a_checkpoint_of_its_parts_is_complete(self):
        model = made(
            dataclasses.replace(CONFIG, cross_layers=2),
            history=history(),
            history_mode="attention",
        )
        named = {
            v.ref() for v in checkpoint.named_variables(model.parts()).values()
        }
        left = [v for v in model.weights if v.ref() not in named]
        # History, sizes of vocabularies, loss and calibration stay behind.
        names = sorted(v.name.split("/")[-1].split(":")[0] for v in left)
        self.assertEqual(
            names,
            ["Variable"] * 6 + ["count", "line", "total"] + ["vocab_size"] * 3,
        )
        trained = {v.ref() for v in model.trainable_variables}
        self.assertEmpty(trained - named)

    def test_excluded_features_are_not_read(self):
        spec = SPEC.without(("category", "clicked", "price"))
        model = made(spec=spec)
        inputs = {n: rows()[n] for n in ("user_id", "item_id")}
        self.assertEqual(model(inputs).shape, [6])
        self.assertCountEqual(model.embedding.tables, ["user", "item"])

    def test_tpm_reads_basic_features_only(self):
        model = made(TPM, SPEC.basic())
        inputs = {n: rows()[n] for n in ("user_id", "item_id")}
        self.assertEqual(model(inputs).shape, [6])
        self.assertEqual(model.cross, [])
        # Two ids and their product.
        self.assertEqual(model.input_norm.gamma.shape, [3 * 4])

    def test_sequences_without_attention_are_not_looked_up(self):
        model = made(dataclasses.replace(CONFIG, attention=False))
        inputs = rows()
        del inputs["clicked"]
        self.assertEqual(model(inputs).shape, [6])

    def test_fit_lowers_the_loss_on_a_learnable_set(self):
        model = compiled(made(history=history()))
        inputs = rows(256)
        click = tf.cast(inputs["user_id"] % 2 == 0, tf.float32)
        data = tf.data.Dataset.from_tensor_slices((inputs, click)).batch(64)
        losses = model.fit(data, epochs=15, verbose=0).history["loss"]
        self.assertLess(losses[-1], 0.1)
        self.assertGreater(losses[0], 3 * losses[-1])

    def test_steps_in_the_graph_are_steps_one_by_one(self):
        """Three of five batches, the last of them smaller; then the others."""
        inputs = rows(18)
        click = tf.cast(inputs["user_id"] % 2 == 0, tf.float32)
        data = tf.data.Dataset.from_tensor_slices((inputs, click)).batch(4)
        ours, plain = (compiled(made(history=history())) for _ in range(2))
        plain.set_weights(ours.get_weights())
        batches = iter(data)
        waits = [ours.train_steps(batches, tf.constant(n)) for n in (3, 2)]
        for batch in data:
            plain.train_step(batch)
        for found, expected in zip(ours.weights, plain.weights, strict=True):
            self.assertAllClose(found, expected, 1e-3, 1e-4)
        for waited in waits:
            self.assertBetween(float(waited), 0.0, 10.0)

    def test_statistics_estimated_anew_are_the_means_over_batches(self):
        """Of batches of any size; of none, they stay as they are."""
        sizes = (6, 6, 3)
        batches = tf.data.Dataset.from_generator(
            lambda: ((rows(n, i), tf.zeros([n])) for i, n in enumerate(sizes)),
            output_signature=tf.nest.map_structure(
                lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype),
                (rows(), tf.zeros([6])),
            ),
        )
        model, alone = made(), made()
        norms = [m.own_layers(BatchNorm) for m in (model, alone)]
        expected = []
        for i, n in enumerate(sizes):
            with of_last_batch(norms[1]):
                alone(rows(n, i), training=True)
            expected.append(
                [(m.moving_mean + 0, m.moving_variance + 0) for m in norms[1]]
            )
        for _ in range(2):
            model.estimate_statistics(batches)
            for i, norm in enumerate(norms[0]):
                mean, variance = np.mean([of[i] for of in expected], axis=0)
                self.assertAllClose(norm.moving_mean, mean, 1e-5, 1e-5)
                self.assertAllClose(norm.moving_variance, variance, 1e-5, 1e-5)
                self.assertEqual(norm.momentum, CONFIG.batch_norm_momentum)
                norm.moving_mean.assign_add(tf.ones_like(norm.moving_mean))
        before = [norm.moving_mean.numpy() for norm in norms[0]]
        model.estimate_statistics(batches.take(0))
        after = [norm.moving_mean.numpy() for norm in norms[0]]
        for one, other in zip(before, after, strict=True):
            self.assertAllEqual(one, other)
        # Traced once for all days, whatever the size of their batches.
        self.assertEqual(model._summed.experimental_get_tracing_count(), 1)

    def test_bfloat16_is_near_float32(self):
        """Logits, weights after training, and the types of both."""
        models = [made(precision=p) for p in ("float32", "bfloat16")]
        models[1].set_weights(models[0].get_weights())
        inputs = rows(64)
        logits = [model(inputs, training=True) for model in models]
        self.assertNotAllClose(*logits, 1e-5, 1e-5)
        self.assertAllClose(*logits, 0.05, 0.05)
        click = tf.cast(inputs["user_id"] % 2 == 0, tf.float32)
        data = tf.data.Dataset.from_tensor_slices((inputs, click)).batch(32)
        losses = [
            compiled(model).fit(data, epochs=10, verbose=0).history["loss"][-1]
            for model in models
        ]
        self.assertAllClose(*losses, 0.05, 0.01)
        for model in models:
            self.assertEqual(model.call(inputs).dtype, tf.float32)
            for variable in model.weights:
                self.assertNotEqual(variable.dtype, tf.bfloat16)

    def test_the_reported_loss_is_the_mean_of_all_rows(self):
        model = compiled(made(table_l2=0.1, l2=0.1))
        for optimizer in (model.optimizer, model.table_optimizer):
            optimizer.learning_rate = 0.0
        inputs = rows(10)
        click = tf.cast(tf.range(10) % 3 == 0, tf.float32)
        data = tf.data.Dataset.from_tensor_slices((inputs, click))
        losses = []
        for part in data.batch(6):
            logits = model(part[0], training=True).numpy()
            p = 1 / (1 + np.exp(-logits))
            y = part[1].numpy()
            losses += list(-y * np.log(p) - (1 - y) * np.log(1 - p))
        got = model.fit(data.batch(6), verbose=0).history["loss"]
        # Without the penalties.
        self.assertAllClose(got[0], np.mean(losses), 1e-4)

    def test_table_l2_is_of_the_embeddings_read_a_row(self):
        model, inputs = made(table_l2=0.3), rows()
        model(inputs, training=True)
        squares = 0.0
        for name, table in (
            ("user_id", "user"),
            ("item_id", "item"),
            ("category", "category"),
            ("clicked", "item"),
        ):
            embeddings = model.embedding.tables[table].embeddings.numpy()
            for row in inputs[name].numpy().ravel():
                if row >= 0:
                    squares += np.square(embeddings[row]).sum()
        self.assertLen(model.losses, 1)
        self.assertAllClose(model.losses[0], 0.3 * squares / 6, 1e-5)
        model(inputs, training=False)
        self.assertEmpty(model.losses)

    def test_l2_is_of_the_kernels_of_cross_network_and_mlp(self):
        model = made(l2=0.2)
        kernels = [
            v.numpy()
            for name, v in checkpoint.named_variables(model.parts()).items()
            if name.startswith(("cross/", "mlp/")) and name.endswith("kernel")
        ]
        self.assertLen(kernels, 2)
        expected = 0.2 * sum(np.square(k).sum() for k in kernels)
        self.assertAllClose(sum(model.losses), expected, 1e-5)

    def test_log_loss_by_hand(self):
        # -log(1/2), and -log(1 - p) with p = 3/4.
        got = log_loss(tf.constant([1.0, 0.0]), tf.constant([0, np.log(3.0)]))
        self.assertAllClose(got, (np.log(2) + np.log(4)) / 2)
