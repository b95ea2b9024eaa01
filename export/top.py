"""Cross networks and MLPs of all heads, as one function of raw inputs.

Shapes: B rows, U users, C candidates of all users together, N inputs of the
network, H hidden units of all heads together. The inputs u `[B, N]`, as they
are before batch norm, are c, what is the user's, z, the candidate's own, M of
them, and products of the first P of z with a vector p of the user.
"""

import typing

import numpy as np
import tensorflow as tf
import tf_keras as keras

from ecdctr_tf.export.weights import normalised, served
from ecdctr_tf.layers.mlp import MLP
from ecdctr_tf.models.ctr_model import CTRModel

# Inputs whose mean is fewer deviations away from 0 are not centred.
_NEAR = 2.0
# A kernel and a bias.
_Affine = tuple[typing.Any, typing.Any]


class Layout(typing.NamedTuple):
    """What each input of a served model is to the model.

    A place among the inputs of the model's network; -1: it reads no such input.
    """

    # Inputs of the user, c.
    users: list[int]
    # Inputs of the candidate, z.
    candidates: list[int]
    # Products of the first of these.
    products: list[int]


class _Head(typing.NamedTuple):
    """The weights of a head in the order of u, float64."""

    # 1 for inputs that it reads, else 0.
    seen: np.ndarray
    # Cross layers, and hidden layers with their batch norm.
    crosses: list[_Affine]
    layers: list[_Affine]
    # What the output makes of cross network and MLP.
    of_cross: np.ndarray
    of_mlp: np.ndarray
    bias: float


class Top:
    """The logit of raw inputs.

    With one cross layer or none it is `d Q d + l d + k`, plus what hidden
    layers make of `relu(d W + t)`, where d is u, less the mean of inputs that
    hardly vary: their squares would cancel each other. For the candidates of a
    user, Q, l, W and t become those of z alone.

    Args:
      model: the trained model.
      layout: the order of u.
    """

    def __init__(self, model: CTRModel, layout: Layout):
        """Put the weights together, in float64."""
        order = [*layout.users, *layout.candidates, *layout.products]
        scale, mean, beta = (
            _taken(part, order) for part in _normalisation(model)
        )
        beta -= np.where(np.abs(mean * scale) < _NEAR, mean * scale, 0)
        mean = np.where(np.abs(mean * scale) < _NEAR, 0, mean)
        heads = _heads(model, order)
        # As functions of normalised inputs first.
        quadratic, linear = np.zeros([len(order)] * 2), np.zeros(len(order))
        constant = sum(head.bias for head in heads) + model.line.numpy()[-1]
        for head in heads:
            if len(head.crosses) == 1:
                ((kernel, bias),) = head.crosses
                kernel = head.seen[:, np.newaxis] * kernel * head.seen
                quadratic += kernel * head.of_cross
                linear += head.seen * (1 + bias) * head.of_cross
            if not head.layers:
                linear += head.seen * head.of_mlp
        constant += beta @ quadratic @ beta + linear @ beta
        linear = scale * (linear + (quadratic + quadratic.T) @ beta)
        quadratic = scale[:, np.newaxis] * quadratic * scale
        quadratic = (quadratic + quadratic.T) / 2
        layers = _side_by_side([head.layers for head in heads])
        output = np.concatenate([head.of_mlp for head in heads])
        if layers:
            kernel, bias = layers[0]
            layers[0] = scale[:, np.newaxis] * kernel, bias + beta @ kernel
        self._linear = served(linear)
        # A quarter of a symmetric Q need not be multiplied with.
        half = len(order) // 2
        of_all = quadratic[:, :half].copy()
        of_all[half:] *= 2
        self._of_all = served(of_all)
        self._of_last = served(quadratic[half:, half:])
        self._mean, self._constant = served(mean), served(constant)
        self._layers = [(served(k), served(b)) for k, b in layers]
        self._output = served(output[:, np.newaxis])
        self._deep = None
        if any(len(head.crosses) > 1 for head in heads):
            self._deep = _DeepCrosses(heads, scale, beta)
        self._of_user = _OfUser(layout, mean, quadratic, linear, layers[:1])

    def by_row(self, u: tf.Tensor) -> tf.Tensor:
        """Return logits, `[B]`, of inputs `[B, N]`."""
        d = u - self._mean  # [B, N]
        if self._deep:
            logit = self._deep(d) + tf.linalg.matvec(d, self._linear)
        else:
            half = self._of_all.shape[1]
            form = tf.concat(
                [d @ self._of_all, d[:, half:] @ self._of_last], axis=1
            )
            products = d * tf.nn.bias_add(form, self._linear)  # [B, N]
            logit = tf.reduce_sum(products, axis=1)
        if self._layers:
            kernel, bias = self._layers[0]
            logit += self._deeper(_layer(d, kernel, bias))
        return logit + self._constant

    def by_user(self, c: tf.Tensor, z: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
        """Return logits, `[C]`, of the candidates of users.

        Args:
          c: `[U, N - M - P]`.
          z: `[C, M]`, the candidates of one user after the other.
          p: `[U, P]`.
        """
        if self._deep:
            each = tf.shape(z)[0] // tf.shape(c)[0]
            c, p = tf.repeat(c, each, axis=0), tf.repeat(p, each, axis=0)
            return self.by_row(tf.concat([c, z, p * z[:, : p.shape[1]]], 1))
        logit, hidden = self._of_user(c, z, p)
        if self._layers:
            logit += self._deeper(hidden)
        return logit + self._constant

    def _deeper(self, hidden: tf.Tensor) -> tf.Tensor:
        """Return what hidden layers make of the first, `[B, H]` -> `[B]`."""
        for kernel, bias in self._layers[1:]:
            hidden = _layer(hidden, kernel, bias)
        return tf.squeeze(hidden @ self._output, axis=1)


def _layer(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    return tf.nn.relu(tf.nn.bias_add(x @ kernel, bias))


class _OfUser:
    """Quadratic form and first hidden layer of z, made for a user.

    What varies with the candidate is z and p z, both less their means. All else
    is the user's: c, and if z or p z are centred, by what the mean of z times p
    differs from that of their product.

    Args:
      layout: the order of u.
      mean: what is taken from u.
      quadratic: Q, symmetric.
      linear: l.
      layers: W and t, or none.
    """

    def __init__(
        self,
        layout: Layout,
        mean: np.ndarray,
        quadratic: np.ndarray,
        linear: np.ndarray,
        layers: list[_Affine],
    ):
        places = np.arange(len(linear))
        c, z, p = np.split(
            places, np.cumsum([len(part) for part in layout])[:2]
        )
        kernel, bias = np.zeros([len(linear), 0]), np.zeros([0])
        if layers:
            ((kernel, bias),) = layers
        self._means = [served(mean[part]) for part in (c, z, p)]
        # Of a quadratic form only the sum of what is mirrored counts.
        rows = np.concatenate([quadratic[np.ix_(z, z)], kernel[z]], axis=1)
        self._varying, self._same = map(served, np.split(rows, [len(p)]))
        products = [2 * quadratic[np.ix_(p, z)], kernel[p]]
        self._products = served(np.concatenate(products, axis=1))
        squares = np.zeros_like(self._products)
        squares[:, : len(p)] = quadratic[np.ix_(p, p)]
        self._squares = squares
        multiplied = np.array(layout.products) >= 0
        centred = mean[p].any() or mean[z[: len(p)]][multiplied].any()
        self._differs = bool(centred)
        own = np.concatenate([c, p]) if centred else c
        forms = [quadratic[np.ix_(own, own)], 2 * quadratic[np.ix_(own, p)]]
        forms += [2 * quadratic[np.ix_(own, z)], kernel[own]]
        self._user = served(np.concatenate(forms, axis=1))
        shifts = [linear[own], linear[p], linear[z], bias]
        self._shift = served(np.concatenate(shifts))

    def __call__(
        self, c: tf.Tensor, z: tf.Tensor, p: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the quadratic form, `[C]`, and the hidden layer, `[C, H]`."""
        of_c, of_z, of_p = self._means
        own, pairs, width = len(of_z), len(of_p), self._same.shape[1]
        users = tf.shape(c)[0]
        e = c - of_c
        if self._differs:
            e = tf.concat([e, p * of_z[:pairs] - of_p], axis=1)
        form, of_pairs, of_own = tf.split(
            tf.nn.bias_add(e @ self._user, self._shift),
            [e.shape[1], pairs, width],
            axis=1,
        )
        constant = tf.reduce_sum(e * form, axis=1, keepdims=True)  # [U, 1]
        of_own += _wide(p * of_pairs, width)
        # The rows of z that p multiplies, then the others, then that of 1.
        squares = self._squares * _wide(p, width)[:, tf.newaxis]
        varying = p[:, :, tf.newaxis] * (squares + self._products)
        matrix = tf.concat(
            [
                varying + self._varying,
                tf.tile(self._same[np.newaxis], [users, 1, 1]),
                of_own[:, tf.newaxis],
            ],
            axis=1,
        )  # [U, M + 1, M + H]
        z = tf.reshape(z - of_z, [users, -1, own])
        extended = tf.pad(z, [[0, 0], [0, 0], [0, 1]], constant_values=1.0)
        read = extended @ matrix  # [U, C / U, M + H]
        form, hidden = tf.split(read, [own, width - own], axis=2)
        logit = tf.reduce_sum(z * form, axis=2) + constant
        hidden = tf.reshape(tf.nn.relu(hidden), [-1, width - own])
        return tf.reshape(logit, [-1]), hidden


def _wide(x: tf.Tensor, width: int) -> tf.Tensor:
    """Return `[U, P]` with zeros behind it, `[U, width]`."""
    return tf.pad(x, [[0, 0], [0, width - x.shape[1]]])


class _DeepCrosses:
    """What outputs make of cross networks of several layers.

    Args:
      heads: whose cross networks they are.
      scale: of the inputs less their means, to normalise them.
      beta: added to what is scaled.
    """

    def __init__(self, heads: list[_Head], scale: np.ndarray, beta: np.ndarray):
        # An input that a head does not read is 0 in its cross network.
        self._heads = [
            (
                served(head.seen * scale),
                served(head.seen * beta),
                [(served(k), served(b)) for k, b in head.crosses],
                served(head.of_cross[:, np.newaxis]),
            )
            for head in heads
        ]

    def __call__(self, d: tf.Tensor) -> tf.Tensor:
        """Return the share of the logits, `[B]`."""
        found = tf.zeros([tf.shape(d)[0]])
        for scale, shift, layers, output in self._heads:
            x = crossed = d * scale + shift  # [B, N]
            for kernel, bias in layers:
                crossed = x * (crossed @ kernel + bias) + crossed
            found += tf.squeeze(crossed @ output, axis=1)
        return found


def _normalisation(model: CTRModel) -> list[np.ndarray]:
    """Return scale, mean and beta of all inputs; scaled ones have 1, 0, 0."""
    scaled = sum(column.width for column in model.columns()[1])
    return [
        np.concatenate([part, np.full(scaled, value)])
        for part, value in zip(
            normalised(model.input_norm), (1.0, 0.0, 0.0), strict=True
        )
    ]


def _heads(model: CTRModel, order: list[int]) -> list[_Head]:
    """Return the weights of all heads, each with its share of the logit."""
    columns = [column for part in model.columns() for column in part]
    own = np.concatenate(
        [np.full(column.width, not column.recalled) for column in columns]
    )
    tops = [(model.mlp, model.cross, model.head)]
    tops += [(head.mlp, head.cross, head.head) for head in model.more_heads]
    heads = []
    for place, (mlp, cross, output) in enumerate(tops):
        kernel, bias = (
            weight.astype(np.float64) * model.line.numpy()[place]
            for weight in output.get_weights()
        )
        of_mlp, of_cross = np.split(
            kernel[:, 0], [len(kernel) - len(own) * bool(cross)]
        )
        layers = _hidden(mlp)
        if layers:
            layers[0] = _taken(layers[0][0], order), layers[0][1]
        else:
            of_mlp = _taken(of_mlp, order)
        heads.append(
            _Head(
                _taken(own if place % 2 else np.ones(len(own)), order),
                [_cross(layer, order) for layer in cross],
                layers,
                _taken(of_cross, order) if cross else of_cross,
                of_mlp,
                bias[0],
            )
        )
    for head in heads:
        if head.layers:
            head.layers[0][0][:] *= head.seen[:, np.newaxis]
    return heads


def _cross(layer: keras.layers.Layer, order: list[int]) -> _Affine:
    """Return kernel and bias of a cross layer in the order of u."""
    kernel, bias = (w.astype(np.float64) for w in layer.get_weights())
    return _taken(_taken(kernel, order).T, order).T, _taken(bias, order)


def _hidden(mlp: MLP) -> list[_Affine]:
    """Return kernels and biases of hidden layers with their batch norm."""
    layers = []
    for dense, norm in zip(mlp.dense, mlp.norms, strict=True):
        scale, mean, beta = normalised(norm)
        kernel = dense.kernel.numpy() * scale
        layers.append((kernel, beta - mean * scale))
    return layers


def _side_by_side(heads: list[list[_Affine]]) -> list[_Affine]:
    """Return the layers of all heads as one layer each, `[N, H]` and `[H]`."""
    found = []
    for depth, layers in enumerate(zip(*heads, strict=True)):
        kernels = [kernel for kernel, _ in layers]
        if depth == 0:
            kernel = np.concatenate(kernels, axis=1)
        else:
            kernel = _block_diagonal(kernels)
        found.append((kernel, np.concatenate([bias for _, bias in layers])))
    return found


def _block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    found = np.zeros(np.sum([block.shape for block in blocks], axis=0))
    row = column = 0
    for block in blocks:
        rows, columns = block.shape
        found[row : row + rows, column : column + columns] = block
        row, column = row + rows, column + columns
    return found


def _taken(values: np.ndarray, order: list[int]) -> np.ndarray:
    """Return rows in another order, float64; zeros for -1."""
    none = np.zeros_like(values[:1], np.float64)
    return np.concatenate([values, none])[order]
