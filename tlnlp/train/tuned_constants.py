"""The numbers of the recipe that were chosen on development draws, and the measurement behind each.

Development draws are labels and test texts from the training files of IMDb, AG News and TREC. The figures are in
``tests/bench/RESULTS.md``. Numbers that follow from a definition or a memory limit stay in the modules that use them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TunedConstants:
    """Numbers that were tuned. The text below each says what it means and which measurement decided."""

    # Fits on labels.
    few_labels: int = 1000
    """Up to this many labels, contrastive training on pairs of texts is used, above it cross-entropy. Contrast was
    better by 8 points at 8 labels a class of TREC, and equal at 200 labels of IMDb."""
    class_name_templates: tuple[str, ...] = ("{}", "It is about {}.", "The text is {}.")
    """Class names as extra training texts. Three gained 5 to 10 points with 16 labels of short reviews and nothing with
    100; one gained less, and six lost on TREC."""
    head_c: float = 1.0
    """Inverse strength of the ridge penalty of a linear head, for centred embeddings with a mean squared length of 1.
    C = 10 made no difference on TREC at 8 a class."""
    labels_c: float = 10.0
    """The same for an n-gram view that learns from labels: C = 1 to 1000 differed by at most 3.1 points."""
    few_labels_halved: int = 250
    """Up to this many labels, fits that tune the encoder are cross-validated in two folds, not four: half as many
    fits."""
    moving_share_an_error: float = 1.5
    """Share of the remaining time that tuning on labels may take where documents need time too, for each unit of the
    pretrained encoder's error rate: tuning pays where that encoder is weak (TREC), and hardly where it is strong
    (IMDb)."""
    moving_share: float = 0.4
    """The most that this share may be."""
    doubt: float = 1.0
    """A tuned encoder is rejected only if it is worse than the pretrained one by this many standard errors. Tuning
    nearly always helps (AG News, 8 a class: 79 to 86 % of texts right), but 32 labels rarely show that."""

    # Documents.
    foreign: float = 0.9
    """From this share of documents that are further from the labelled texts than those are from one another, documents
    are foreign. It was 0.4 to 0.65 for documents of the same source (16 to 200 labels of IMDb, AG News and TREC), and
    at least 0.96 for those of another."""
    word_order: float = 0.7
    """Texts have their words in an order if they rank at least so high among random orders (see ``word_order``).
    Labelled texts ranked at 0.84 to 1.0 by documents of the same source, at most at 0.66 by the same documents with
    their words shuffled or sorted, and at 0.83 or more by one another (16 to 48 labels, 60 to 500 documents of IMDb,
    AG News and TREC)."""
    evidence: float = 3.3
    """Documents are refused if their pseudo-labels are worse than the labels alone by this many standard errors. Two
    standard errors refused good documents in a draw of 200 IMDb labels (87.0 and 82.0 % of held-out labels right),
    which cost three points of accuracy."""
    unmeasured_error: float = 0.2
    """Assumed error of pseudo-labels from class names, where no label can measure it (IMDb 10 %, AG News 28 %)."""

    # Label spreading.
    neighbours: int = 10
    """Neighbours of a text in the graph. 5, 20 and 40 showed no order on TREC."""
    sharpness: float = 5.0
    """How fast the weight of an edge falls with the cosine distance of its texts. 1 and 15 showed no order
    on TREC."""
    from_neighbours: float = 0.95
    """Share of a text's new value that comes from its neighbours in each iteration (alpha of Zhou et al.). 0.90 and
    0.99 showed no order on TREC."""

    # Pseudo-labels and their calibration.
    pseudo_labels_c: float = 100.0
    """Inverse strength of the ridge penalty of n-grams that learn from pseudo-labels. Accuracy on IMDb for C = 1, 10,
    100, 1000: 82.3, 85.9, 87.2, 86.6 %."""
    confident: float = 0.3
    """A student learns from documents of at least this confidence: below, errors outweigh the gain."""
    prior_labels: int = 8
    """The error that label spreading itself expects counts as much as this number of held-out labels."""
    student_error: float = 0.8
    """Error of label spreading in a student's space, as a multiple of its error before the first round: 0.68 (IMDb),
    0.90 (TREC), 0.89 (AG News). A student draws the texts of a class together, which makes label spreading
    overconfident, so its own expectation is not used there."""
    combined_error: float = 0.9
    """Error of both views together, as a multiple of the error before the first round at unchanged disagreement; error
    falls in proportion to disagreement. The estimate was within 3 points of the truth on all three data sets."""
    share_power: float = 1 / 3
    """In a round n-grams learn from more documents than in the calibration, and become more accurate. Their share grows
    by this power of the ratio of documents (IMDb, AG News)."""
    student_share: float = 0.6
    """Factor on the share of n-grams after the first round: a student has learned much of what the n-grams know."""

    # Rounds of co-training.
    least_crops: int = 2_500
    """Fewest windows that make a new encoder worth a round."""
    most_crops: int = 60_000
    """The most windows that still help."""
    round_crops: int = 26_000
    """Windows of a full round. One round of 35,520 windows was better than three shorter ones (IMDb: 88.9 and
    88.0 %)."""
    short_round_crops: int = 10_000
    """Windows of a full round where documents are few."""
    most_passes: int = 3
    """Most windows of a document in a round; few documents are repeated more often, up to ``short_round_crops``."""

    # Distillation of a student.
    distilling_share: float = 0.2
    """Share of the time budget that makes a student."""
    student_layers: int = 6
    """Layers of a student. Three were too few (tests/bench/RESULTS.md)."""
    student_tokens: int = 128
    """Most tokens of a text that a student reads."""
    student_learning_rate: float = 2e-4
    """Peak learning rate of a student."""
    most_student_passes: int = 10
    """Most windows of a document that a student learns from."""

    # Selection of the encoder.
    worth_a_larger: float = 0.01
    """A smaller encoder scores faster, so it is preferred where the labels show that it loses less accuracy than
    this."""
    other_script: float = 0.5
    """From this share of non-Latin letters on, encoders made for English are left out."""


TUNED = TunedConstants()
