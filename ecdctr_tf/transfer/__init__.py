"""What moves between the levels: snapshots, history, weights."""
