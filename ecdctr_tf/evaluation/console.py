"""The result of a run as a table in the console."""

import rich.console
import rich.table

from ecdctr_tf.evaluation import summary as summary_lib
from ecdctr_tf.evaluation import text


def print_table(
    summary: dict, console: rich.console.Console | None = None
) -> None:
    """Print each model's AUC and GAUC, and what was written where.

    Args:
      summary: what `write_report` returned.
      console: to print to; None is standard output.
    """
    console = console or rich.console.Console()
    models = summary["models"]
    table = rich.table.Table(
        title=text.scope(summary),
        title_justify="left",
    )
    table.add_column("model", no_wrap=True)
    for name in ("AUC", "GAUC", "gap closed"):
        table.add_column(name, justify="right", no_wrap=True)
    for model, values in models.items():
        closed = summary_lib.gap_closed(models, model).get("auc")
        known = model in ("cpm_finetune", "e_cdctr") and closed is not None
        table.add_row(
            text.LABELS[model],
            text.number(values["auc"], values["auc_std"]),
            text.number(values["gauc"], values["gauc_std"]),
            f"{closed:.0%}" if known else "",
            style="bold" if model == "e_cdctr" else "",
        )
    console.print(table)
    for path in summary.get("paths", ()):
        console.print(f"wrote {path}", soft_wrap=True, highlight=False)
