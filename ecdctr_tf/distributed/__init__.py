"""Processes that train a window together, under a strategy of `tf.distribute`.

A **cluster** is a chief and, depending on the strategy, workers and parameter
servers. The chief runs the stages as one process does: it decides, scores and
publishes. Only the steps of windows are taken by all of them.
"""
