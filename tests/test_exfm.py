"""ExFM-like: what the teacher teaches, and what it leaves alone."""

import dataclasses

import numpy as np
import tensorflow as tf

from ecdctr_tf.models import exfm
from ecdctr_tf.models.ctr_model import CTRModel, log_loss
from tests.test_ctr_model import CONFIG, ROWS, SPEC, compiled, rows
from tests.test_plugged_models import clicks, drawn, made_source, named

TWO_LAYERS = dataclasses.replace(CONFIG, hidden_units=(8, 6))


def made(source=None):
    source = source or made_source()
    return drawn(
        exfm.ExFM(SPEC, TWO_LAYERS, ROWS, sources=[source]).build_from_spec(),
        4,
    )


def losses(model, inputs, click):
    """Return the losses that a training call adds, as numbers."""
    model({**inputs, exfm._CLICKS: click}, training=True)
    return [float(loss) for loss in model.losses]


class ExFMTest(tf.test.TestCase):
    def test_served_rows_do_not_depend_on_the_teacher(self):
        model, inputs = made(), rows()
        before = model.score(inputs).numpy()
        for variable in model.sources[0].weights:
            if variable.dtype.is_floating:
                variable.assign(variable * 3)
        self.assertAllEqual(model.score(inputs), before)

    def test_the_served_network_is_the_usual_one(self):
        usual = CTRModel(SPEC, TWO_LAYERS, ROWS).build_from_spec()
        model, inputs = made(), rows()
        taught = ("adapter/", "auxiliary_head/")
        served = {
            name: variable
            for name, variable in named(model).items()
            if not name.startswith(taught)
        }
        self.assertEqual(set(served), set(named(usual)))
        for name, variable in named(usual).items():
            variable.assign(served[name])
        self.assertAllEqual(model(inputs), usual(inputs))

    def test_losses_by_hand(self):
        """The adapter learns clicks, the auxiliary head the adapter."""
        model, inputs, click = made(), rows(64), clicks()
        weight = tf.cast(tf.range(64) % 2, tf.float32)
        found = losses(model, {**inputs, "weight": weight}, click)
        z = model.sources[0](inputs, training=False).numpy()
        w = {name: v.numpy() for name, v in named(model).items()}
        hidden = np.maximum(
            z[:, None] @ w["adapter/hidden/kernel"] + w["adapter/hidden/bias"],
            0,
        )
        z += (hidden @ w["adapter/correction/kernel"])[:, 0]
        z += w["adapter/correction/bias"]
        adapted = 1 / (1 + np.exp(-z))
        counted = weight.numpy() == 1

        def entropy(aim, of):
            values = aim * np.log(of) + (1 - aim) * np.log(1 - of)
            return -values[counted].mean()

        self.assertLen(found, 2)
        self.assertAllClose(found[0], entropy(click.numpy(), adapted), 1e-4)
        # The best that the auxiliary head could do is the aim's own entropy.
        self.assertGreater(found[1], entropy(adapted, adapted))

    def test_without_clicks_nothing_is_taught(self):
        """As where only batch norm's statistics are estimated."""
        model = made()
        model(rows(64), training=True)
        self.assertEmpty(model.losses)

    def test_the_teacher_reaches_the_layers_and_not_the_served_head(self):
        model, inputs = made(), rows(64)
        variables = named(model) | {
            f"source/{n}": v for n, v in named(model.sources[0]).items()
        }
        with tf.GradientTape() as tape:
            tape.watch(list(variables.values()))
            model({**inputs, exfm._CLICKS: clicks()}, training=True)
            adapter, auxiliary = model.losses
        del adapter
        found = tape.gradient(auxiliary, variables)
        reached = {
            name
            for name, gradient in found.items()
            if gradient is not None
            and np.abs(tf.convert_to_tensor(gradient)).max() > 0
        }
        self.assertIn("auxiliary_head/kernel", reached)
        self.assertIn("mlp/dense/0/kernel", reached)
        self.assertIn("embedding/tables/user/embeddings", reached)
        apart = ("head/", "adapter/", "source/")
        self.assertFalse([n for n in reached if n.startswith(apart)])

    def test_training_changes_all_weights_and_no_teacher(self):
        model = compiled(made())
        teacher = [v.numpy() for v in model.sources[0].weights]
        before = {v.ref(): v.numpy() for v in model.trainable_variables}
        data = tf.data.Dataset.from_tensors((rows(64), clicks()))
        model.fit(data.repeat(3), verbose=0)
        for variable, value in zip(
            model.sources[0].weights, teacher, strict=True
        ):
            self.assertAllEqual(variable, value)
        for variable in model.trainable_variables:
            self.assertNotAllEqual(variable, before[variable.ref()])

    def test_the_loss_that_is_told_is_that_of_the_served_head(self):
        model = compiled(made())
        inputs = rows(64)
        expected = log_loss(clicks(), model(inputs, training=True))
        data = tf.data.Dataset.from_tensors((inputs, clicks()))
        told = model.fit(data, verbose=0).history["loss"]
        self.assertAllClose(told, [expected], 1e-4)


class StudentAdapterTest(tf.test.TestCase):
    def test_it_starts_without_effect(self):
        z = tf.constant([-2.0, 0, 3])
        self.assertAllEqual(exfm.StudentAdapter()(z), z)
