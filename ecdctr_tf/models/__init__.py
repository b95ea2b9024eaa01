"""The click-through-rate model of all three levels."""
