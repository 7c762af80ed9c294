"""Turn texts into class probabilities, in one way for training, evaluation and scoring; define the model bundle."""
