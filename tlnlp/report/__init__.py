"""The honest report of a model version: pictures and one page, made from the ``report`` of its ``training.json``."""
