"""Runs: their directory, lock and checkpoints, what each keeps, and handles of sources."""
