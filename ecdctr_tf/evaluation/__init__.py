"""The report of a run, and its result in the console."""

from ecdctr_tf.evaluation.console import print_table
from ecdctr_tf.evaluation.report import write_report

__all__ = ["print_table", "write_report"]
