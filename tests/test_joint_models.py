"""Models of both domains: what they share, what they keep apart."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import artefacts, features, model_table
from ecdctr_tf import config as configs
from ecdctr_tf.models import joint, mmoe, ple, star
from ecdctr_tf.models.ctr_model import CTRModel, log_loss
from ecdctr_tf.transfer import checkpoint
from tests.test_ctr_model import CONFIG, ROWS, SPEC, compiled, rows

JOINT = {
    row.name: artefacts.network(row, artefacts.CTR)
    for row in model_table.MODELS.values()
    if row.origin == model_table.BOTH_DOMAINS
}
TWO_LAYERS = dataclasses.replace(CONFIG, hidden_units=(8, 6))
NATURAL, ADS = 0, 1


def made(name, config=TWO_LAYERS, **kwargs):
    """Return a joint model whose weights are large enough to be seen."""
    model = JOINT[name](SPEC, config, ROWS, **kwargs).build_from_spec()
    model.adapt({n: c.numpy() for n, c in rows(64).items()})
    random = np.random.default_rng(4)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 0.5, variable.shape))
    return model


def rows_of(domain, count=6, seed=0):
    """Return rows of a domain, or of each in turn with `None`."""
    domains = np.arange(count) % 2 if domain is None else [domain] * count
    return {**rows(count, seed), "domain": tf.constant(domains, tf.int32)}


def named(model):
    return checkpoint.named_variables(model.parts())


def reached(model, domain) -> set[str]:
    """Return the names of the weights that rows of a domain change."""
    variables = {n: v for n, v in named(model).items() if v.trainable}
    with tf.GradientTape() as tape:
        logits = model(rows_of(domain, 64), training=True)
        loss = log_loss(tf.cast(tf.range(64) % 3 == 0, tf.float32), logits)
    gradients = tape.gradient(loss, variables)
    return {
        name
        for name, gradient in gradients.items()
        if gradient is not None
        and np.abs(tf.convert_to_tensor(gradient)).max() > 0
    }


class JointModelsTest(tf.test.TestCase):
    def test_they_are_those_of_the_table_of_models(self):
        self.assertCountEqual(JOINT, ["joint", "mmoe", "ple", "star", "minet"])

    def test_call_gives_a_logit_a_row(self):
        for name in JOINT:
            for config in (CONFIG, TWO_LAYERS):
                model, inputs = made(name, config), rows_of(None)
                logits = model(inputs)
                self.assertEqual(logits.shape, [6], name)
                self.assertEqual(logits.dtype, tf.float32)
                one = model({n: v[3:4] for n, v in inputs.items()})
                self.assertAllClose(one[0], logits[3], 1e-4, 1e-4)

    def test_networks_without_layers_or_cross_network(self):
        for changes in ({"hidden_units": ()}, {"cross_layers": 0}):
            for name in JOINT:
                config = dataclasses.replace(CONFIG, **changes)
                self.assertEqual(made(name, config)(rows_of(None)).shape, [6])

    def test_a_row_is_scored_as_of_its_domain(self):
        """Whatever the domains of the rows beside it."""
        for name in JOINT:
            model = made(name)
            natural, ads = (model(rows_of(d)).numpy() for d in (NATURAL, ADS))
            self.assertTrue((np.abs(natural - ads) > 1e-6).all(), name)
            mixed = model(rows_of(None)).numpy()
            expected = np.where(np.arange(6) % 2, ads, natural)
            self.assertAllClose(mixed, expected, 1e-5, 1e-5)

    def test_rows_of_a_domain_train_what_is_theirs_and_what_is_shared(self):
        for name in JOINT:
            model = made(name)
            trained = {v.ref() for v in model.trainable_variables}
            every = {n for n, v in named(model).items() if v.ref() in trained}
            self.assertLen(every, len(trained))
            found = {d: reached(model, d) for d in (NATURAL, ADS, None)}
            self.assertEqual(found[None], every, name)
            for domain, other in ((NATURAL, "ads"), (ADS, "natural")):
                left = every - found[domain]
                self.assertTrue(all(other in n for n in left), left)
            shared = found[NATURAL] & found[ADS]
            self.assertIn("embedding/tables/item/embeddings", shared)
            self.assertTrue(any(n.startswith("cross/0/") for n in shared))

    def test_what_a_domain_keeps_for_itself(self):
        """Gate, tower and head; above the first level its experts as well."""
        of_mmoe = reached(made("mmoe"), ADS) - reached(made("mmoe"), NATURAL)
        self.assertEqual(
            {"/".join(n.split("/")[:2]) for n in of_mmoe},
            {"gates/ads", "towers/ads", "heads/ads"},
        )
        of_ple = reached(made("ple"), ADS) - reached(made("ple"), NATURAL)
        self.assertEqual(
            {"/".join(n.split("/")[:4]) for n in of_ple if "level" in n},
            {
                # The shared gate reads the ads' experts of the first level.
                "levels/0/gates/ads",
                "levels/1/gates/ads",
                "levels/1/experts/ads",
            },
        )

    def test_the_other_domains_slices_of_star_have_no_gradient(self):
        model = made("star")
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(rows_of(ADS, 64), training=True))
        slices = [
            v for n, v in named(model).items() if "domain_" in n.split("/")[-1]
        ]
        # Kernels and biases of two layers and the head, scales and shifts.
        self.assertLen(slices, 2 * 3 + 2)
        for gradient in tape.gradient(loss, slices):
            self.assertAllEqual(gradient[NATURAL], gradient[NATURAL] * 0)
            self.assertTrue(np.any(gradient[ADS]))

    def test_a_checkpoint_of_its_parts_is_complete(self):
        """Another model has the same logits with the arrays of the first."""
        for name in JOINT:
            model, other = made(name), made(name)
            model(rows_of(None, 64), training=True)
            for variable in other.weights:
                if variable.dtype.is_floating:
                    variable.assign(tf.ones_like(variable))
            other.line.assign(model.line)  # It is kept in manifests.
            prefix = f"{self.get_temp_dir()}/{name}"
            checkpoint.write(prefix, named(model))
            values = checkpoint.read(prefix)
            self.assertCountEqual(values, named(other))
            for path, variable in named(other).items():
                variable.assign(values[path])
            inputs = rows_of(None)
            logits = model(inputs)
            self.assertAllEqual(other(inputs), logits)
            # Traced once a model.
            self.assertAllClose(model.score(inputs), tf.sigmoid(logits), 1e-5)
            kept = {v.ref() for v in named(model).values()}
            left = [v for v in model.weights if v.ref() not in kept]
            names = {v.name.split("/")[-1].split(":")[0] for v in left}
            self.assertEqual(names, {"vocab_size", "total", "count", "line"})

    @pytest.mark.long
    def test_fit_learns_domains_that_contradict_each_other(self):
        twice = {n: tf.repeat(v, 2, axis=0) for n, v in rows(128).items()}
        inputs = {**twice, "domain": tf.range(256) % 2}
        click = (inputs["user_id"] + inputs["domain"]) % 2 == 0
        data = tf.data.Dataset.from_tensor_slices(
            (inputs, tf.cast(click, tf.float32))
        ).batch(64)
        # The plain network sees each row twice, with and without a click.
        plain = compiled(CTRModel(SPEC, TWO_LAYERS, ROWS).build_from_spec())
        ends = [plain.fit(data, epochs=20, verbose=0).history["loss"][-1]]
        for name in JOINT:
            model = compiled(
                JOINT[name](SPEC, TWO_LAYERS, ROWS).build_from_spec()
            )
            losses = model.fit(data, epochs=20, verbose=0).history["loss"]
            ends.append(losses[-1])
        self.assertGreater(ends[0], 0.6)
        for name, end in zip(JOINT, ends[1:], strict=True):
            self.assertLess(end, 0.2, name)

    def test_bfloat16_is_near_float32(self):
        for name in JOINT:
            models = [made(name, precision=p) for p in configs.PRECISIONS]
            models[1].set_weights(models[0].get_weights())
            inputs = rows_of(None, 64)
            logits = [model(inputs, training=True) for model in models]
            self.assertNotAllClose(*logits, 1e-5, 1e-5)
            self.assertAllClose(*logits, 0.1, 0.3)
            self.assertEqual(logits[1].dtype, tf.float32)
            for variable in models[1].weights:
                self.assertNotEqual(variable.dtype, tf.bfloat16)

    def test_joint_is_the_plain_network_with_a_flag(self):
        """Natural rows are scored as without the flag's weights."""
        model = made("joint", dataclasses.replace(CONFIG, cross_layers=0))
        plain = CTRModel(
            SPEC, dataclasses.replace(CONFIG, cross_layers=0), ROWS
        ).build_from_spec()
        for path, variable in named(plain).items():
            values = named(model)[path].numpy()
            if path == "mlp/dense/0/kernel":
                self.assertEqual(len(values), variable.shape[0] + 1)
                values = values[:-1]
            variable.assign(values)
        inputs = rows_of(NATURAL)
        self.assertAllClose(model(inputs), plain(inputs), 1e-5, 1e-5)
        self.assertEqual(joint.ADS, ADS)


class MMoETest(tf.test.TestCase):
    def test_mixture_by_hand(self):
        outputs = [
            tf.constant([[1.0, 2], [3, 4]]),
            tf.constant([[10.0, 0]] * 2),
        ]
        weights = tf.constant([[0.5, 0.5], [1, 0]])
        self.assertAllClose(mmoe.mixture(outputs, weights), [[5.5, 1], [3, 4]])

    def test_gates_are_shares(self):
        gate = mmoe.gate(4)(tf.random.normal([5, 3]))
        self.assertEqual(gate.shape, [5, 4])
        self.assertAllClose(tf.reduce_sum(gate, 1), [1] * 5)

    def test_units_are_shared_out(self):
        self.assertEqual(mmoe.shared_out((64, 32, 2), 4), (16, 8, 1))
        self.assertEqual(mmoe.split((64, 32, 16)), ((64, 32), (16,)))
        self.assertEqual(mmoe.split((64,)), ((64,), ()))

    def test_networks_are_of_about_the_same_size(self):
        """Weights behind the inputs, of the usual layers."""
        config = dataclasses.replace(CONFIG, hidden_units=(64, 32))

        def size(model):
            return sum(
                np.prod(v.shape)
                for n, v in named(model).items()
                if not n.startswith(("embedding/", "cross/"))
            )

        plain = size(CTRModel(SPEC, config, ROWS).build_from_spec())
        self.assertAllClose(
            [size(made(n, config)) / plain for n in ("joint", "mmoe", "ple")],
            [1.0, 1.0, 1.5],
            0,
            0.25,
        )
        self.assertLess(size(made("star", config)) / plain, 3.5)


class PLETest(tf.test.TestCase):
    def test_gates_read_their_own_and_the_shared_experts(self):
        level = ple.Extraction((3,), False, 0.9)
        x = {g: tf.random.normal([5, 4]) for g in ("natural", "ads", "shared")}
        mixed = level(x)
        self.assertEqual(
            {n: v.shape[1] for n, v in mixed.items()},
            {
                "natural": 3,
                "ads": 3,
                "shared": 3,
            },
        )
        self.assertEqual(level.gates["ads"].units, 2 * ple.EXPERTS)
        self.assertEqual(level.gates["shared"].units, 3 * ple.EXPERTS)
        outputs = [
            expert(x[group])
            for group in ("ads", "shared")
            for expert in level.experts[group]
        ]
        expected = mmoe.mixture(outputs, level.gates["ads"](x["ads"]))
        self.assertAllClose(mixed["ads"], expected)

    def test_the_top_level_has_no_shared_mixture(self):
        level = ple.Extraction((3,), True, 0.9)
        x = {g: tf.ones([5, 4]) for g in ("natural", "ads", "shared")}
        self.assertCountEqual(level(x), features.DOMAINS)


class StarTest(tf.test.TestCase):
    def test_dense_is_the_product_of_weights_and_the_sum_of_biases(self):
        layer = star.StarDense(2)
        x = np.random.default_rng(0).normal(size=[3, 4]).astype("f")
        domain = tf.constant([1, 0, 1])
        layer(x, domain)
        random = np.random.default_rng(1)
        values = [random.normal(size=w.shape) for w in layer.get_weights()]
        layer.set_weights(values)
        kernel, kernels, bias, biases = values
        expected = [
            row @ (kernel * kernels[p]) + bias + biases[p]
            for row, p in zip(x, domain.numpy(), strict=True)
        ]
        self.assertAllClose(layer(x, domain), expected, 1e-5, 1e-5)

    def test_domains_start_alike(self):
        layer = star.StarDense(2)
        x = tf.random.normal([3, 4])
        ads, natural = (layer(x, tf.fill([3], d)) for d in (ADS, NATURAL))
        self.assertAllEqual(ads, natural)

    def test_l2_is_of_the_products(self):
        layer = star.StarDense(2, l2=0.5)
        layer(tf.ones([1, 3]), tf.constant([0]))
        kernel = layer.kernel.numpy()
        layer.domain_kernels.assign([kernel * 0 + 2, kernel * 0 + 3])
        layer(tf.ones([1, 3]), tf.constant([0]))
        expected = 0.5 * np.square(kernel).sum() * (4 + 9)
        self.assertAllClose(sum(layer.losses), expected, 1e-5)

    def test_norm_takes_the_statistics_of_the_domain(self):
        layer = star.PartitionedNorm(0.75)
        x = np.random.default_rng(0).normal(5, 3, [16, 3]).astype("f")
        domain = np.arange(16) % 3 // 2  # A third of them is of ads.
        got = layer(x, tf.constant(domain), training=True).numpy()
        for p in (NATURAL, ADS):
            of = x[domain == p]
            expected = (of - of.mean(0)) / np.sqrt(of.var(0) + 1e-3)
            self.assertAllClose(got[domain == p], expected, 1e-4, 1e-4)
            self.assertAllClose(layer.moving_mean[p], of.mean(0) / 4, 1e-4)
            self.assertAllClose(
                layer.moving_variance[p], 0.75 + of.var(0, ddof=1) / 4, 1e-4
            )

    def test_norm_scales_and_shifts_by_both(self):
        layer = star.PartitionedNorm(0.75)
        x = np.array([[1.0], [1.0]], "f")
        domain = tf.constant([NATURAL, ADS])
        layer(x, domain)
        for name, value in (
            ("gamma", [2]),
            ("beta", [0.5]),
            ("domain_gammas", [[3], [5]]),
            ("domain_betas", [[0], [1]]),
            ("moving_mean", [[1], [-1]]),
            ("moving_variance", [[4], [1 - 1e-3]]),
        ):
            getattr(layer, name).assign(value)
        # 2 * 3 * (1 - 1) / 2 + 0.5 and 2 * 5 * (1 + 1) / 1 + 0.5 + 1.
        self.assertAllClose(layer(x, domain), [[0.5], [21.5]], 1e-5)

    def test_a_row_alone_in_its_domain_is_normalised_as_in_scoring(self):
        layer = star.PartitionedNorm(0.75)
        x = np.random.default_rng(0).normal(5, 3, [4, 3]).astype("f")
        domain = tf.constant([0, 0, 1, 0])
        layer(x, domain)
        layer.moving_mean.assign(tf.ones([2, 3]))
        expected = layer(x, domain)[2]
        got = layer(x, domain, training=True)
        self.assertAllClose(got[2], expected)
        self.assertAllClose(layer.moving_mean[ADS], [1, 1, 1])
        self.assertAllClose(layer.moving_variance[ADS], [1, 1, 1])
        self.assertNotAllClose(layer.moving_mean[NATURAL], [1, 1, 1])


class MiNetTest(tf.test.TestCase):
    def test_interests_by_hand(self):
        model, inputs = made("minet"), rows_of(ADS)
        embedded = model.embedding(inputs)
        found = model._interests(inputs, embedded).numpy()
        item, user = (embedded[n].numpy() for n in ("item_id", "user_id"))
        keys = embedded["clicked"].numpy()
        keys = keys @ model.transfer_to_ads["clicked"].kernel.numpy()
        there = inputs["clicked"].numpy() >= 0
        pooled = model.attention_of_ads["clicked"](item, keys, there).numpy()
        kernel, bias = model.weights_of_ads.get_weights()
        z = np.concatenate([item, user, pooled], axis=1) @ kernel + bias
        weights = 2 / (1 + np.exp(-z))
        expected = [weights[:, :1] * user, weights[:, 1:] * pooled]
        self.assertAllClose(found, np.concatenate(expected, axis=1), 1e-4, 1e-4)
        # The first row has no clicks.
        self.assertAllEqual(found[0, 4:], np.zeros(4))

    def test_all_interests_count_alike_at_the_start(self):
        model = JOINT["minet"](SPEC, TWO_LAYERS, ROWS).build_from_spec()
        inputs = rows_of(ADS)
        embedded = model.embedding(inputs)
        found = model._interests(inputs, embedded)
        self.assertAllClose(found[:, :4], embedded["user_id"])

    def test_without_attention_there_is_the_long_term_interest_only(self):
        config = dataclasses.replace(TWO_LAYERS, attention=False)
        model, inputs = made("minet", config), rows_of(ADS)
        embedded = model.embedding(inputs)
        self.assertEqual(model._interests(inputs, embedded).shape, [6, 4])
        self.assertEqual(model(inputs).shape, [6])
