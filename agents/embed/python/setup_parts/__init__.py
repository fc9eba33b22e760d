"""The steps of em_setup: one module a part of the store."""
