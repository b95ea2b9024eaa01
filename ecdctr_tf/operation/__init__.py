"""Months of unattended operation: where things come from, and what may go."""
