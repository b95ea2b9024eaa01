"""Conversion as an Apache Beam pipeline: the same bytes as `convert` writes.

It is for first conversions that one machine does not hold. What is done to a
table, a stretch of events or a file of rows is done by the functions of
`conversion`; here is how the work is divided, so that a worker never holds more
than a stretch, a file, or a part of the ids of a fixed size.
"""
