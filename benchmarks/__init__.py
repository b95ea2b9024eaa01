"""Benchmarks, one command each; BUILD.md says how they are run."""

import os

# Only what the benchmarks say themselves.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
