"""Requests that an export is asked besides those of its warm-up file."""

import typing
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ecdctr_tf.export import batching, signatures
from ecdctr_tf.export.prediction_log import Request

ODD, APART, TOGETHER = "odd", "apart", "together"
_NUMBERS = (np.nan, np.inf, -np.inf, 3e38, -3e38)
_WHOLE = (-1, -(2**63), 2**63 - 1)
_TEXTS = (b"", b"\xff\x00", b"no such id" * 100)
_BY_KIND = {"f": _NUMBERS, "i": _WHOLE, "O": _TEXTS}


def odd(found: Iterable[Request]) -> dict[str, Request]:
    """Return requests with values that nobody should send, but somebody will.

    Args:
      found: the requests of the warm-up file.
    """
    made: dict[str, Request] = {}
    for signature, request in _first(found).items():
        if "examples" in request.inputs or "inputs" in request.inputs:
            [name] = request.inputs
            rows = np.array([b"", request.inputs[name][0]], object)
            made[f"{ODD} {signature}"] = request._replace(inputs={name: rows})
            continue
        for kind, values in _BY_KIND.items():
            for place, value in enumerate(values):
                made[f"{ODD} {signature} {kind}{place}"] = request._replace(
                    inputs={
                        name: np.full_like(column, value)
                        if column.dtype.kind == kind
                        else column
                        for name, column in request.inputs.items()
                    }
                )
    return made


def to_merge(
    found: Iterable[Request], definitions: Mapping
) -> dict[str, Request]:
    """Return pairs of requests with lists of other lengths, and them merged.

    Args:
      found: the requests of the warm-up file.
      definitions: name -> definition of a signature.
    """
    lists, own = _shapes(definitions)
    made: dict[str, Request] = {}
    for signature, request in _first(found).items():
        if signature not in (signatures.DEFAULT, signatures.RANK):
            continue
        short = dict(request.inputs)
        if signature == signatures.RANK:
            short |= {name: short[name][:, :1] for name in own}
        parts = [
            batching.padded(short, lists, 1),
            batching.padded(request.inputs, lists, 3),
        ]
        for place, part in enumerate(parts):
            made[f"{APART} {signature} {place}"] = Request(signature, part)
        whole = batching.merged(parts)
        made[f"{TOGETHER} {signature}"] = Request(signature, whole)
    return made


def _first(found: Iterable[Request]) -> dict[str, Request]:
    """Return the largest request of each signature that leaves nothing out."""
    largest: dict[str, Request] = {}
    for request in found:
        before = largest.get(request.signature)
        if before is None or _size(request) > _size(before):
            largest[request.signature] = request._replace(outputs=())
    return largest


def _size(request: Request) -> int:
    return sum(column.size for column in request.inputs.values())


def _shapes(definitions: Mapping) -> tuple[Sequence[str], Sequence[str]]:
    """Return which tensors are lists, and which are the candidate's."""
    rows = _dimensions(definitions[signatures.DEFAULT])
    users = _dimensions(definitions[signatures.RANK])
    lists = [name for name, sizes in rows.items() if sizes[1:] == [-1]]
    own = [name for name in rows if len(users[name]) > len(rows[name])]
    return lists, own


def _dimensions(definition: typing.Any) -> dict[str, list[int]]:
    return {
        name: [dim.size for dim in info.tensor_shape.dim]
        for name, info in definition.inputs.items()
    }
