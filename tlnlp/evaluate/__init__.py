"""How good a model is: metrics, findings of a cross-validation, held-out labels, and the promotion gate."""
