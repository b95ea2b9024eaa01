"""What is in logs, said before anything is converted."""
