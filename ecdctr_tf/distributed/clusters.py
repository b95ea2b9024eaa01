"""What a process does in a cluster: lead, or follow the chief."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

from ecdctr_tf import model_table
from ecdctr_tf.distributed import roles
from ecdctr_tf.distributed.servers import Servers, serve
from ecdctr_tf.distributed.together import Together
from ecdctr_tf.training.level import Cluster


def check(role: roles.Role, models: Sequence[str]) -> None:
    """Make sure that models can be trained under a strategy.

    Args:
      role: of this process.
      models: names of the models.

    Raises:
      ValueError: one reads a frozen model or has layers of its own.
    """
    if role.strategy == roles.NONE:
        return
    own = model_table.ModelRow.network
    for row in model_table.chosen(models):
        if row.network != own and not row.experts:
            raise ValueError(
                f"--strategy={role.strategy} trains models of the network of "
                f"E-CDCTR only, and {row.name} has another one. Leave it out "
                "of --models, or train it with --strategy=none."
            )


@contextlib.contextmanager
def lead(role: roles.Role, workdir: pathlib.Path) -> Iterator[Cluster | None]:
    """Give the chief its cluster; the others end with the `with` block.

    Has to come before anything else that TensorFlow does.

    Args:
      role: the chief's.
      workdir: the work directory, which all processes see.

    Yields:
      The cluster; None for one process without a strategy.

    Raises:
      LostError: a process cannot be reached.
    """
    if role.strategy == roles.NONE:
        yield None
        return
    make = Servers if role.strategy == roles.PARAMETER_SERVER else Together
    with make(role, workdir).leading() as cluster:
        yield cluster


def follow(
    role: roles.Role, data_dir: pathlib.Path, workdir: pathlib.Path
) -> None:
    """Take part in what the chief does until it ends.

    Args:
      role: of this process, which is not the chief.
      data_dir: the data directory, as this process sees it.
      workdir: the work directory, as this process sees it.

    Raises:
      LostError: the chief or a worker is gone, and steps need all of them.
    """
    if role.strategy == roles.PARAMETER_SERVER:
        serve(role, workdir)
    else:
        Together(role, workdir).follow(data_dir)
