"""Models that read a frozen one: what they take from it, what stays."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf import artefacts, model_table
from ecdctr_tf import config as configs
from ecdctr_tf.models import ctnet, kgd
from ecdctr_tf.models.ctr_model import CTRModel, log_loss
from ecdctr_tf.transfer import checkpoint
from tests.test_ctr_model import CONFIG, ROWS, SPEC, compiled, rows

# Those that read the hidden states of the frozen model.
PLUGGED = {
    name: artefacts.network(model_table.model(name), artefacts.CTR)
    for name in ("keep", "ctnet", "kgd")
}
TWO_LAYERS = dataclasses.replace(CONFIG, hidden_units=(8, 6))
EPSILON = 1e-3  # Of Keras's batch norm.


def drawn(model, seed):
    """Draw the weights that are trained, large enough to be seen."""
    model.adapt({name: c.numpy() for name, c in rows(64).items()})
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 0.5, variable.shape))
    return model


def made_source(config=TWO_LAYERS, seed=7):
    """Return a model that has seen rows: its statistics have moved."""
    model = drawn(CTRModel(SPEC, config, ROWS).build_from_spec(), seed)
    for _ in range(20):
        model(rows(64, seed), training=True)
    return model


def fresh(name, config=TWO_LAYERS, source=None, **kwargs):
    source = source or made_source(config)
    model = PLUGGED[name](SPEC, config, ROWS, sources=[source], **kwargs)
    return model.build_from_spec()


def plugs(model):
    """Return the beginnings of the names of weights that no source has."""
    names = set(model.parts()) - set(model.sources[0].parts())
    return tuple(f"{name}/" for name in names)


def made(name, *args, **kwargs):
    return drawn(fresh(name, *args, **kwargs), 4)


def named(model):
    return checkpoint.named_variables(model.parts())


def values(model):
    return {name: v.numpy() for name, v in named(model).items()}


def like(model, weights):
    """Give a model weights by name; return the names it has besides."""
    variables = named(model)
    for name, value in weights.items():
        variables[name].assign(value)
    return set(variables) - set(weights)


def clicks(count=64):
    return tf.cast(tf.range(count) % 3 == 0, tf.float32)


class PluggedModelsTest(tf.test.TestCase):
    def test_call_gives_a_logit_a_row(self):
        for name in PLUGGED:
            for changes in ({}, {"cross_layers": 0}, {"hidden_units": (3,)}):
                config = dataclasses.replace(TWO_LAYERS, **changes)
                model, inputs = made(name, config), rows()
                logits = model(inputs)
                self.assertEqual(logits.shape, [6], name)
                self.assertEqual(logits.dtype, tf.float32)
                one = model({n: v[3:4] for n, v in inputs.items()})
                self.assertAllClose(one[0], logits[3], 1e-4, 1e-4)

    def test_networks_without_hidden_layers(self):
        config = dataclasses.replace(CONFIG, hidden_units=())
        for name in ("ctnet", "kgd"):
            self.assertEqual(made(name, config)(rows()).shape, [6])
        with pytest.raises(ValueError, match=r"hidden_units.* Received: \(\)"):
            made("keep", config)

    def test_training_leaves_the_source_as_it_is(self):
        """Statistics too, bit for bit; everything else is trained."""
        for name in PLUGGED:
            model = compiled(made(name))
            model.run_eagerly = True  # Three steps are not worth a trace.
            source = values(model.sources[0])
            before = {v.ref(): v.numpy() for v in model.trainable_variables}
            data = tf.data.Dataset.from_tensors((rows(64), clicks()))
            model.fit(data.repeat(3), verbose=0)
            for path, value in values(model.sources[0]).items():
                self.assertAllEqual(value, source[path], path)
            own = {n: v for n, v in named(model).items() if v.trainable}
            self.assertEqual(set(before), {v.ref() for v in own.values()})
            for path, variable in own.items():
                self.assertNotAllEqual(variable, before[variable.ref()], path)

    def test_gradients_reach_no_weight_of_the_source(self):
        for name in PLUGGED:
            model = made(name)
            variables = list(named(model.sources[0]).values())
            with tf.GradientTape() as tape:
                tape.watch([v for v in variables])
                loss = log_loss(clicks(), model(rows(64), training=True))
            found = tape.gradient(loss, variables)
            self.assertEqual(found, [None] * len(variables))

    def test_every_weight_of_the_source_is_read_but_its_heads(self):
        inputs = rows(32)
        for name in PLUGGED:
            model = made(name)
            logits = model(inputs).numpy()
            for path, variable in named(model.sources[0]).items():
                if path.endswith(("/rows", "/quantiles", "/partial")):
                    continue  # Standardising complete numbers needs none.
                old = variable.numpy()
                variable.assign(old * 1.5 + 0.1)
                changed = np.abs(model(inputs).numpy() - logits).max() > 1e-5
                self.assertEqual(changed, not path.startswith("head"), path)
                variable.assign(old)

    def test_the_source_works_as_in_scoring(self):
        """What its head reads gives its logits; a row needs no other."""
        for name in PLUGGED:
            model, inputs = made(name), rows(16)
            known = model._knowledge(inputs)
            logits = model.sources[0].head(known.top)[:, 0]
            expected = model.sources[0](inputs, training=False)
            self.assertAllClose(logits, expected, 1e-5, 1e-5)
            table = model.sources[0].embedding.tables["item"].embeddings.numpy()
            self.assertAllEqual(known.ids[1], table[inputs["item_id"]])
            one = model._knowledge({n: v[3:4] for n, v in inputs.items()})
            self.assertAllClose(one.top[0], known.top[3], 1e-5, 1e-5)

    def test_ids_that_the_source_does_not_know_are_unknown_to_it(self):
        """The model itself may know them."""
        for name in PLUGGED:
            smaller = CTRModel(SPEC, TWO_LAYERS, {**ROWS, "user": 3})
            source = drawn(smaller.build_from_spec(), 7)
            model, inputs = made(name, source=source), rows()
            late, none = (
                {**inputs, "user_id": tf.fill([6], user)} for user in (5, 0)
            )
            known = [model._knowledge(of).top for of in (late, none)]
            self.assertAllEqual(*known)
            self.assertNotAllClose(model(late), model(none))

    def test_a_checkpoint_of_its_parts_is_all_but_the_source(self):
        """Another model, beside the same source, has the same logits."""
        for name in PLUGGED:
            source = made_source()
            model = made(name, source=source)
            model(rows(64), training=True)
            other = fresh(name, source=source)
            prefix = f"{self.get_temp_dir()}/{name}"
            checkpoint.write(prefix, named(model))
            self.assertEmpty(like(other, checkpoint.read(prefix)))
            inputs = rows()
            logits = model(inputs)
            self.assertAllEqual(other(inputs), logits)
            # Traced once a model.
            self.assertAllClose(model.score(inputs), tf.sigmoid(logits), 1e-5)
            kept = {v.ref() for v in named(model).values()}
            of_source = {v.ref() for v in model.sources[0].weights}
            self.assertEmpty(kept & of_source)
            left = [v for v in model.weights if v.ref() not in kept | of_source]
            names = {v.name.split("/")[-1].split(":")[0] for v in left}
            self.assertEqual(names, {"vocab_size", "total", "count", "line"})

    def test_the_network_beside_the_plugs_is_the_usual_one(self):
        usual = CTRModel(SPEC, TWO_LAYERS, ROWS).build_from_spec()
        expected = {n: v.shape for n, v in named(usual).items()}
        for name in PLUGGED:
            model = fresh(name)
            found = {
                n: v.shape
                for n, v in named(model).items()
                if not n.startswith(plugs(model))
            }
            self.assertEqual(found, expected, name)

    def test_bfloat16_is_near_float32(self):
        for name in PLUGGED:
            source = made_source()
            models = [
                made(name, source=source, precision=p)
                for p in configs.PRECISIONS
            ]
            logits = [model(rows(64), training=True) for model in models]
            self.assertNotAllClose(*logits, 1e-5, 1e-5)
            self.assertAllClose(*logits, 0.1, 0.4)
            self.assertEqual(logits[1].dtype, tf.float32)

    def test_fit_learns_through_the_plugs_alone(self):
        """From a source that knows the clicks, and not from another."""
        inputs, source = rows(512), made_source()
        known = source(inputs).numpy()
        click = tf.cast(known > np.median(known), tf.float32)
        data = tf.data.Dataset.from_tensor_slices((inputs, click)).batch(64)
        for name in PLUGGED:
            model = fresh(name, source=source)
            learning = (*plugs(model), "head/")
            reached = {
                v.ref()
                for n, v in named(model).items()
                if n.startswith(learning) and v.trainable
            }
            for layer in model.own_layers(keras.layers.Layer):
                of_layer = {v.ref() for v in layer.trainable_variables}
                layer.trainable = bool(of_layer & reached)
            trained = {v.ref() for v in model.trainable_variables}
            self.assertEqual(trained, reached)
            losses = compiled(model).fit(data, epochs=15, verbose=0)
            self.assertLess(losses.history["loss"][-1], 0.35, name)


class KEEPTest(tf.test.TestCase):
    def test_the_projection_joins_the_first_layer(self):
        """`ReLU(BN(W x + P BN(k)))`, in NumPy."""
        config = dataclasses.replace(CONFIG, cross_layers=0)
        model, inputs = made("keep", config), rows(16)
        model(rows(64), training=True)
        w, known = values(model), model._knowledge(inputs)
        k = np.concatenate([known.top, *known.ids], axis=1)

        def normalised(x, name):
            of = {n: w[f"{name}/{n}"] for n in ("gamma", "beta")}
            deviation = np.sqrt(w[f"{name}/moving_variance"] + EPSILON)
            x = (x - w[f"{name}/moving_mean"]) / deviation
            return x * of["gamma"] + of["beta"]

        h = model._read(inputs, False)[1] @ w["mlp/dense/0/kernel"]
        h += normalised(k, "plug_norm") @ w["plug/kernel"]
        h = np.maximum(normalised(h, "mlp/norms/0"), 0)
        expected = h @ w["head/kernel"] + w["head/bias"]
        self.assertAllClose(model(inputs), expected[:, 0], 1e-4, 1e-4)


class CTNetTest(tf.test.TestCase):
    def test_with_the_sources_weights_it_starts_as_the_source(self):
        source = made_source()
        model, inputs = fresh("ctnet", source=source), rows(16)
        new = like(model, values(source))
        self.assertEqual(
            {n.split("/")[0] for n in new},
            {"adapters", "head_adapter"},
        )
        self.assertAllEqual(model(inputs), source(inputs))

    def test_adapters_can_leave_their_start(self):
        """The linear part has a gradient at once, the gate a step later."""
        model = compiled(fresh("ctnet"))
        adapters = [*model.adapters, model.head_adapter]
        linears = [a.linear.kernel for a in adapters]
        gates = [a.gate.kernel for a in adapters]
        for moved in (False, True):
            with tf.GradientTape() as tape:
                loss = log_loss(clicks(), model(rows(64), training=True))
            found = tape.gradient(loss, (linears, gates))
            for i, expected in enumerate((True, moved)):
                for gradient in found[i]:
                    self.assertEqual(np.abs(gradient).max() > 0, expected)
            for linear, gradient in zip(linears, found[0], strict=True):
                linear.assign_sub(gradient)

    def test_a_layer_gets_the_state_below_it(self):
        """`z <- layer(z) + adapter(z_s)`; the logit what the head reads."""
        model, inputs = made("ctnet"), rows(16)
        known = model._knowledge(inputs)
        z = x = model._read(inputs, False)[1]
        for i, adapter in enumerate(model.adapters):
            layer = tf.nn.relu(model.mlp.norms[i](model.mlp.dense[i](z)))
            z = layer + adapter(known.layers[i])
        logits = model.head(tf.concat([z, model.cross[0](x, x)], axis=1))
        logits += model.head_adapter(known.top)
        self.assertAllClose(model(inputs), logits[:, 0], 1e-5, 1e-5)

    def test_adapter_by_hand(self):
        layer = ctnet.Adapter(2)
        z = np.array([[1.0, 2], [0, -1]], "f")
        self.assertAllEqual(layer(z), np.zeros([2, 2]))
        kernel, bias = np.array([[1, 2], [3, 4]]), np.array([0.5, 0])
        layer.linear.set_weights([kernel, bias])
        # sigmoid(0) and sigmoid(log 3) are 1/2 and 3/4.
        layer.gate.set_weights([np.zeros([2, 2]), np.array([0, np.log(3)])])
        self.assertAllClose(layer(z), [[3.75, 7.5], [-1.25, -3]])

    def test_l2_is_of_the_adapters_of_layers_too(self):
        model = made("ctnet", l2=0.5)
        kernels = [
            v
            for n, v in values(model).items()
            if n.startswith(("mlp/dense/", "adapters/", "cross/"))
            and n.endswith("kernel")
        ]
        # Two of the MLP, four of adapters, one of the cross network.
        self.assertLen(kernels, 7)
        expected = 0.5 * sum(np.square(k).sum() for k in kernels)
        self.assertAllClose(sum(model.losses), expected, 1e-4)


class KGDTest(tf.test.TestCase):
    def test_fresh_it_reads_what_the_source_knows(self):
        """Its own tables have no effect before the residual is trained."""
        model, inputs = fresh("kgd"), rows(16)
        model.adapt({name: c.numpy() for name, c in rows(64).items()})
        before = model(inputs)
        for table in model.embedding.tables.values():
            table.embeddings.assign(table.embeddings * 7)
        self.assertAllEqual(model(inputs), before)
        source = model.sources[0].embedding.tables["user"].embeddings
        source.assign(source * 2)
        self.assertNotAllClose(model(inputs), before)

    def test_the_residual_is_orthogonal_to_what_is_known(self):
        random = np.random.default_rng(3)
        layer = kgd.AnchoredResidual(2)
        own, known = random.normal(size=[2, 5, 3, 4]).astype("f")
        known[0, 0] = 0  # Padding.
        self.assertAllEqual(layer(own, known), known)
        down, up = random.normal(size=[4, 2]), random.normal(size=[2, 4])
        layer.set_weights([down, up, 0.5])
        residual = layer(own, known) - 0.5 * known
        along = np.sum(residual * known, axis=-1)
        self.assertAllClose(along, np.zeros([5, 3]), atol=1e-5)
        lost = own @ down @ up - residual
        shares = np.sum(lost * known, -1) / np.maximum(
            np.sum(known * known, -1), 1e-9
        )
        self.assertAllClose(lost, shares[..., np.newaxis] * known, 1e-4, 1e-4)

    def test_attention_by_hand(self):
        layer = kgd.ReadOnlyAttention(2, 2)
        x, states = np.ones([3, 4], "f"), [np.eye(3, 5, dtype="f")] * 2
        states[1] = np.eye(3, 2, dtype="f")
        found = layer(x, states).numpy()
        query = x @ layer.query.kernel.numpy()
        keys, values = (
            [s @ of[i].kernel.numpy() for i, s in enumerate(states)]
            for of in (layer.keys, layer.values)
        )
        scores = np.exp(
            [(query * k).sum(1, keepdims=True) / np.sqrt(2) for k in keys]
        )
        expected = (scores * values).sum(0) / scores.sum(0)
        self.assertAllClose(found, expected, 1e-5, 1e-5)
