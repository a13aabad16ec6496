"""Envoy: its configuration as values, its files, its process, its admin address."""
