"""Results of scored models, of a run or a comparison, and the kit of pages."""
