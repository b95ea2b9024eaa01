"""Models, baselines and ablations, compared on the same days and rows."""
