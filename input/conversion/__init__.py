"""Logs to a data directory: the half of the input that writes.

`converter` makes a directory of tables or appends days to one; `logs` reads
files to tables, `toml_spec` says what is in them. Nothing is imported here, so
that commands start before TensorFlow has loaded.
"""
