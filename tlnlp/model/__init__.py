"""From a text to probabilities: one path, shared by training, evaluation and scoring; and the bundle that holds it."""
