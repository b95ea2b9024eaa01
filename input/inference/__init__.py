"""A first conversion spec, made from a sample of the files of logs."""
