"""Builders of data sets, and their conversion specs."""
