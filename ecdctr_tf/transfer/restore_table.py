"""The restore report of a warm start as a table on the terminal."""

import rich.console
import rich.table

from ecdctr_tf.transfer import warm_start


def show(
    report: warm_start.RestoreReport,
    title: str,
    console: rich.console.Console | None = None,
) -> None:
    """Print what happened to every variable.

    Args:
      report: what `warm_start.restore` returned.
      title: whose weights they are.
      console: to print to; None is standard output.
    """
    console = console or rich.console.Console()
    table = rich.table.Table(
        title=f"{title} ({report.source}): "
        f"{report.restored_share:.1%} of the weights restored",
        title_justify="left",
    )
    table.add_column("variable", overflow="fold")
    table.add_column("shape")
    table.add_column("status")
    for name in ("rows", "norm before", "after"):
        table.add_column(name, justify="right")
    for variable in report.variables:
        table.add_row(
            variable.name,
            "x".join(map(str, variable.shape)) or "scalar",
            variable.status,
            f"{variable.rows_restored:,}",
            f"{variable.norm_before:.4g}",
            f"{variable.norm_after:.4g}",
        )
    console.print(table)
