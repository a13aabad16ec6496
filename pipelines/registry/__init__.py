"""Follows in the MLflow registry what git says: aliases and tags of a promotion. Nothing is in it yet."""
