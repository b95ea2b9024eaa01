"""Results of scored models, of a run or a comparison, and the kit of pages."""

from ecdctr_tf.results.models import of_workdirs
from ecdctr_tf.results.report import write
from ecdctr_tf.results.sections import print_table

__all__ = ["of_workdirs", "print_table", "write"]
