"""The click-through-rate model of all levels, and what it is compared with."""
