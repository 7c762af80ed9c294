"""The report of a model version: one page with pictures, made from the ``report`` of its ``training.json``."""
