"""The model registry follows git: aliases and tags say who serves what, and never decide it."""
