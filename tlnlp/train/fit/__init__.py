"""One fit of an encoder: batches, losses, steps, and the linear head on it. Nothing of Ray."""
