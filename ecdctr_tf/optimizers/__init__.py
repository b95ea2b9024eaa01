"""Optimizers for embedding tables: a step costs its rows, not the table's."""
