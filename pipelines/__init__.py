"""Decides when what is served changes: promotion, drift, analysis. Stands on the plugin, never the reverse."""
