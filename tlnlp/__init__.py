"""A few hundred labels to a text classifier, and every document scored into a warehouse table."""

__version__ = "0.1.0"
