"""From labels to a registered version: the recipe, the Ray Train job under it, evaluation and the promotion gate."""
