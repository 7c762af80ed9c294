"""Read labelled examples and unlabelled documents, check them, and normalise texts."""
