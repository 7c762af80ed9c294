"""The few-shot recipe: from labels, and documents without labels, to a registered model version."""
