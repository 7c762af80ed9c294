"""Zero-shot training: a first model from class names and documents, before there are labels.

The pretrained encoder embeds documents and class names. A document first gets the class of the nearest name, relative
to the mean of all documents, because some names are close to every text. Co-training then goes on as with labels.
Nothing measures such a model, so every place that shows it calls it unvalidated.
"""

from __future__ import annotations

import numpy as np

from tlnlp.data.pool import Pool
from tlnlp.errors import InputDataError, UsageError
from tlnlp.model.calibration import sharpness_for
from tlnlp.model.combine import Floats, softmax
from tlnlp.runs.progress import say
from tlnlp.train.candidates import Candidate, as_pretrained
from tlnlp.train.co_training import LEAST_DOCUMENTS, co_train
from tlnlp.train.context import Run
from tlnlp.train.fit.linear_head import LinearHead
from tlnlp.train.frozen_encoder import PretrainedEmbeddings, embed_documents, embed_labels
from tlnlp.train.learned_model import LearnedModel
from tlnlp.train.tuned_constants import TUNED

# Documents that estimate the mean of all documents.
DOCUMENTS_OF_MEAN = 512


def learn_without_labels(run: Run, pool: Pool | None) -> LearnedModel:
    """Train on class names and documents, and on the few labels that there may be.

    All classes are assumed to be about equally frequent.

    Raises:
        UsageError: there are no documents, or a class has no name in words.
        InputDataError: there are too few documents, or too little time to read them.
        EngineError: a piece of work failed.
    """
    examples = run.examples
    if pool is None:
        raise UsageError("a class has too few labels, and there are no documents: set unlabelled=URI, or label more")
    if not examples.class_name_examples:
        raise UsageError(
            "a class name is only a number: no model can be trained from such names: describe each class, as in "
            'class_descriptions={"0": negative, "1": positive}'
        )
    if len(pool.texts) < LEAST_DOCUMENTS:
        raise InputDataError(
            f"{pool.uri}: too few documents ({len(pool.texts)} of at least {LEAST_DOCUMENTS}): add documents, or label "
            "some texts"
        )
    with run.ledger.stage("frozen_encoder"):
        frozen = embed_labels(run)
        head = head_of_names(
            frozen, embed_documents(run, "middle", pool.texts[:DOCUMENTS_OF_MEAN]), len(examples.classes)
        )
    say("there are too few labels to measure accuracy: the first pseudo-labels come from class names")
    learned = co_train(run, Candidate(as_pretrained(examples, head), None), frozen, pool)
    if learned is None:
        raise InputDataError("there was no time to read documents: no model was trained: raise time_budget_s")
    return learned


def head_of_names(frozen: PretrainedEmbeddings, states: Floats, classes: int) -> LinearHead:
    """Return a linear head that gives each text the class of the nearest name.

    Similarity is relative to the mean of the documents' embeddings ``states`` (documents, hidden), and has the same
    standard deviation for every class, so that no name attracts most documents.
    """
    names, centre = frozen.name_directions(classes), states.mean(axis=0)
    along = (states - centre) @ names.T
    weight = names / np.maximum(along.std(axis=0), 1e-12)[:, None]
    power = sharpness_for(softmax((states - centre) @ weight.T), TUNED.unmeasured_error)
    return LinearHead((power * weight).astype(np.float32), (-power * weight @ centre).astype(np.float32))
