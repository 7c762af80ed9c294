"""Choose which documents people should label next, and take their labels."""
