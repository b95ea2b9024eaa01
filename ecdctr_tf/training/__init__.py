"""The stages: fit a window, score then train over days, publish."""
