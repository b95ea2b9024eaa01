"""Data directories to batches, and in `conversion` logs to data directories."""
