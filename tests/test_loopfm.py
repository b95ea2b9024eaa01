import numpy as np
import tensorflow as tf

from ecdctr_tf import artefacts, features, model_table
from ecdctr_tf import config as configs

SPEC = features.DataSpec(
    tables=(features.TableSpec("user"), features.TableSpec("item")),
    features=(
        features.FeatureSpec("user_id", "id", "user", "user", basic=True),
        features.FeatureSpec("item_id", "id", "item", "item", basic=True),
    ),
)
ROW = model_table.model("loopfm")
CONFIG = configs.of_model(
    configs.override(
        configs.Config(), ["model.embedding_dim=2", "model.hidden_units=3"]
    ),
    ROW,
)
ROWS = {"user": 4, "item": 3}


def cpm(users, value):
    """Return a CPM that knows some users, whose vectors are all alike."""
    model = artefacts.build(
        SPEC, CONFIG, ROW, artefacts.CPM, {**ROWS, "user": users}
    )
    table = model.embedding.tables["user"].embeddings
    table.assign(tf.fill(table.shape, value))
    return model


def batch(users):
    users = tf.constant(users, tf.int32)
    return {
        "user_id": users,
        "item_id": tf.ones_like(users),
        "day": tf.zeros_like(users),
    }


class LoopFMTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        # The newest knows users 1 to 3, the one before it 1 and 2 only.
        self.sources = [cpm(4, 5.0), cpm(3, 7.0)]
        self.model = artefacts.build(
            SPEC, CONFIG, ROW, artefacts.CTR, ROWS, sources=self.sources
        )

    def test_vectors_come_from_each_cpm_that_knows_the_user(self):
        vectors, known = self.model._dated(tf.constant([0, 2, 3]))
        self.assertAllEqual(
            known, [[False, False], [True, True], [True, False]]
        )
        self.assertAllEqual(vectors[1], [[5.0, 5.0], [7.0, 7.0]])

    def test_call_one_logit_a_row_also_for_one_row(self):
        self.assertEqual(self.model(batch([1, 2, 3])).shape, [3])
        self.assertEqual(self.model(batch([1])).shape, [1])

    def test_unknown_user_is_scored_alike_whatever_the_cpms_hold(self):
        before = self.model(batch([0])).numpy()
        for source in self.sources:
            table = source.embedding.tables["user"].embeddings
            table.assign(table * 3)
        np.testing.assert_array_equal(self.model(batch([0])), before)

    def test_known_user_is_scored_by_what_the_cpms_hold(self):
        before = self.model(batch([2])).numpy()
        table = self.sources[0].embedding.tables["user"].embeddings
        table.assign(table * 3)
        self.assertNotAllClose(self.model(batch([2])), before)

    def test_gradients_reach_the_attention_and_no_cpm(self):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.model(batch([1, 2]), training=True))
        of_loop = tape.gradient(loss, self.model.loop.trainable_variables)
        self.assertNotEmpty(of_loop)
        self.assertTrue(all(g is not None for g in of_loop))
        self.assertTrue(all(not s.trainable_variables for s in self.sources))

    def test_checkpoint_holds_the_attention_and_no_cpm(self):
        names = artefacts.weights(self.model)
        self.assertTrue(any(name.startswith("loop/") for name in names))
        self.assertFalse(any(name.startswith("sources") for name in names))
