"""Layers shared by the three levels."""
