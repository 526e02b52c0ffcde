"""Experiments: profiles, cached models, records, tables. The only place that knows flags and paths."""
