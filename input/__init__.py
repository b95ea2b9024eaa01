"""Logs to TFRecord, and TFRecord to batches: the input of every stage."""
