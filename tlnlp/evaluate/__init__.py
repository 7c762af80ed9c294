"""Measure how good a model is: metrics, the figures of a report, held-out labels and the promotion gate."""
