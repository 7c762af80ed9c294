"""From class names and documents alone: a first model, before anyone has labelled anything.

The pretrained encoder places documents and class names in one space. A document is of the class whose name is nearest,
against the middle of all documents (a name may be near to any text); from there on the two views teach each
other as ever. Nothing measures such a model, so it is called unvalidated wherever it is shown.
"""

from __future__ import annotations

import numpy as np

from tlnlp.data.pool import Pool
from tlnlp.errors import InputDataError, UsageError
from tlnlp.model.combine import Floats, sharpness_for, softmax
from tlnlp.runs.progress import say
from tlnlp.train.candidates import Candidate, as_pretrained
from tlnlp.train.co_training import LEAST_DOCUMENTS, UNMEASURED_ERROR, teach
from tlnlp.train.context import Run
from tlnlp.train.fit.linear_head import LinearHead
from tlnlp.train.frozen_encoder import PretrainedEmbeddings, embed_documents, embed_labels
from tlnlp.train.learned import Learned

# Documents that say where the middle of all of them is.
OF_MIDDLE = 512


def learn_without_labels(run: Run, pool: Pool | None) -> Learned:
    """Learn from what the classes are called, from documents, and from the few labels that there may be.

    Classes are taken to be about equally frequent, as nothing tells otherwise.

    Raises:
        UsageError: there are no documents to learn from, or a class has no name that says anything.
        InputDataError: there are too few documents, or too little time to read them.
        EngineError.
    """
    examples = run.examples
    if pool is None:
        raise UsageError("too few labels of a class, and no documents: set unlabelled=URI, or label more")
    if not examples.named:
        raise UsageError(
            "class names of numbers alone say nothing: tell what each class is, as in "
            'class_descriptions={"0": negative, "1": positive}'
        )
    if len(pool.texts) < LEAST_DOCUMENTS:
        raise InputDataError(f"{pool.uri}: {len(pool.texts)} documents are too few; at least {LEAST_DOCUMENTS}")
    with run.ledger.stage("frozen_encoder"):
        frozen = embed_labels(run)
        head = head_of_names(frozen, embed_documents(run, "middle", pool.texts[:OF_MIDDLE]), len(examples.classes))
    say("no accuracy can be measured: documents are told by what their classes are called, at first")
    learned = teach(run, Candidate(as_pretrained(examples, head), None), frozen, pool)
    if learned is None:
        raise InputDataError("there was no time to read documents; give a larger time_budget_s")
    return learned


def head_of_names(frozen: PretrainedEmbeddings, states: Floats, classes: int) -> LinearHead:
    """A linear head that tells texts by the class name that they are nearest to.

    Nearness is against the middle of the documents' ``states`` (documents, hidden), and alike in its spread for every
    class, so that no name takes most documents by lying near to all of them.
    """
    names, centre = frozen.named(classes), states.mean(axis=0)
    along = (states - centre) @ names.T
    weight = names / np.maximum(along.std(axis=0), 1e-12)[:, None]
    power = sharpness_for(softmax((states - centre) @ weight.T), UNMEASURED_ERROR)
    return LinearHead((power * weight).astype(np.float32), (-power * weight @ centre).astype(np.float32))
