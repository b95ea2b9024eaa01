"""Which version of a model answers, while versions come and go."""

import contextlib
import dataclasses
import logging
import pathlib
import threading
from collections.abc import Iterator

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from ecdctr_tf import store
from ecdctr_tf.export import saved_model, versions
from ecdctr_tf.export.server import warming
from ecdctr_tf.export.server.loading import Version
from ecdctr_tf.export.server.refusal import Refused, invalid

State = get_model_status_pb2.ModelVersionStatus


@dataclasses.dataclass
class _Status:
    state: int
    # Why it could not be loaded.
    error: str = ""


class Model:
    """The newest version there is, and the one before until it is loaded.

    Args:
      name: what clients call the model.
      base_path: the directory of its versions.
      warm_up: whether a version first answers the requests of its file.
    """

    def __init__(
        self, name: str, base_path: pathlib.Path, warm_up: bool = True
    ):
        self.name, self._base_path = name, base_path
        self._warm_up = warm_up
        self._lock = threading.Lock()
        self._current: Version | None = None
        self._states: dict[int, _Status] = {}

    def poll(self) -> int | None:
        """Load the newest version unless it answers already.

        One that cannot be loaded is left alone until it is gone; what answers
        stays. So it does where there is no version at all.

        Returns:
          The version that answers from now on; None: nothing has changed.
        """
        there = versions.numbers(self._base_path)
        failed = {n for n, status in self._states.items() if status.error}
        for number in failed - set(there):
            del self._states[number]
        if not there or there[-1] in failed:
            return None
        newest = there[-1]
        if self._current is not None and self._current.number == newest:
            return None
        self._states[newest] = _Status(State.LOADING)
        try:
            version = self._load(self._base_path / str(newest))
        except (OSError, ValueError, tf.errors.OpError) as error:
            self._states[newest] = _Status(State.END, str(error) or "unknown")
            logging.error("Version %d cannot be loaded: %s", newest, error)
            return None
        with self._lock:
            former, self._current = self._current, version
            self._states[newest] = _Status(State.AVAILABLE)
        if former is not None:
            self._states[former.number] = _Status(State.END)
            former.retire()
        return newest

    def _load(self, path: pathlib.Path) -> Version:
        if (path / store.MANIFEST).exists():
            # One by another exporter has none.
            store.verify(path, saved_model.KIND)
        version = Version(path)
        if self._warm_up:
            try:
                warming.replay(version, path)
            except BaseException:
                version.retire()
                raise
        return version

    @contextlib.contextmanager
    def version(self, spec: model_pb2.ModelSpec) -> Iterator[Version]:
        """Give the version that a request asks for.

        Raises:
          Refused: there is no such model or version.
        """
        if not spec.name:
            raise invalid("The request names no model: set model_spec.name.")
        if spec.version_label:
            raise invalid(
                "This server knows no labels; leave out the label "
                f"{spec.version_label!r}."
            )
        with self._lock:
            version = self._current
            wanted = spec.version.value if spec.HasField("version") else None
            if (
                version is None
                or spec.name != self.name
                or wanted not in (None, version.number)
            ):
                which = "the newest" if wanted is None else wanted
                raise Refused(
                    grpc.StatusCode.NOT_FOUND,
                    f"Version {which} of the model {spec.name!r} is not "
                    "served.",
                )
            version.enter()
        try:
            yield version
        finally:
            version.leave()

    def status(
        self, spec: model_pb2.ModelSpec
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return what became of the version asked for, or of all.

        Raises:
          Refused: there is no such model or version.
        """
        if not spec.name:
            raise invalid("The request names no model: set model_spec.name.")
        found = dict(self._states) if spec.name == self.name else {}
        if spec.HasField("version"):
            number = spec.version.value
            found = {n: found[n] for n in found if n == number}
        if not found:
            raise Refused(
                grpc.StatusCode.NOT_FOUND,
                f"There is no such version of the model {spec.name!r}.",
            )
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(found, reverse=True):
            entry = response.model_version_status.add()
            entry.version, entry.state = number, found[number].state
            entry.status.error_message = found[number].error
            if found[number].error:
                entry.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
        return response
