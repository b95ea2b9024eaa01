"""Compiled operations, made where they are used; TensorFlow's do the same."""
