"""Find labels that are probably wrong, by confident learning, with a stated share of false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import Floats

# Largest share of the labels that is listed, and so of correct labels that are listed by mistake.
FALSE_ALARM_SHARE = 0.05
MAX_SUSPECTS = 50


@dataclass(frozen=True)
class LabelPlace:
    """Where a label stands: the URI of the file, the row in it from 1, the label, and the sha256 of its text."""

    file: str
    row: int
    label: str
    text_sha256: str


def suspected_labels(
    probabilities: Floats, targets: NDArray[np.int64], classes: Sequence[str], places: Sequence[LabelPlace]
) -> list[dict[str, Any]]:
    """Return labels that are probably wrong: at most 50, those that the model contradicts most first.

    A label is suspected where three conditions hold.

    1. The model predicts another class, with at least the mean probability that it gives to that class over the texts
       labelled with it. These are the labels off the diagonal of the confident joint.
    2. Its normalised margin, the probability of the label minus that of the predicted class, is among the lowest 5% of
       all labels: its conformal p-value is at most ``FALSE_ALARM_SHARE``. So of correct labels no more than 5% of all
       labels are listed by mistake, whatever the model and its calibration are.
    3. It is also among the lowest 5%, rounded up, of the labels of its class. Else the labels of a rare class, of which
       a model is never sure, could fill the list.

    Args:
        probabilities: out-of-fold probabilities (texts, classes).
        targets: class indices of the labels (texts,).
        classes: the class labels, in the order of the columns.
        places: where each label stands (texts,).

    Source: Northcutt, Jiang and Chuang 2021 (1 and the ranking); Bates et al. 2023 (2).
    """
    texts, predicted, confidence = np.arange(len(targets)), probabilities.argmax(axis=1), probabilities.max(axis=1)
    # A class without labelled texts has no such mean, so it never makes a label suspect.
    mean_probability = np.full(len(classes), np.inf)
    for k in np.unique(targets):
        mean_probability[k] = probabilities[targets == k, k].mean()
    suspected = (predicted != targets) & (confidence >= mean_probability[predicted])
    order = np.argsort(probabilities[texts, targets] - confidence, kind="stable")
    left = {int(k): math.ceil(FALSE_ALARM_SHARE * int((targets == k).sum())) for k in np.unique(targets)}
    listed = list[int]()
    for i in order[: math.floor(FALSE_ALARM_SHARE * len(targets))]:
        left[int(targets[i])] -= 1
        if suspected[i] and left[int(targets[i])] >= 0:
            listed.append(int(i))
    return [
        {**vars(places[i]), "predicted": classes[predicted[i]], "probability": confidence[i]}
        for i in listed[:MAX_SUSPECTS]
    ]
