# Scoring: Spark, its S3A connector and the locked Python environment. Driver and executors run this one image.
#
#   docker build -f deploy/images/score.Dockerfile -t registry.example.com/tlnlp/score:0.1.0 .
#
# Apache's own Spark image brings Python 3.10, and tlnlp needs 3.11: so Spark, Java and the entrypoint are taken from
# that image, and Python is the base.

FROM docker.io/apache/spark:4.1.2-scala2.13-java17-ubuntu AS spark

FROM docker.io/library/maven:3.9.11-eclipse-temurin-17 AS jars
COPY deploy/spark/fetch-s3-jars.sh /usr/local/bin/
RUN fetch-s3-jars.sh /jars

FROM docker.io/library/python:3.11.15-slim-trixie

# Spark's entrypoint needs tini, ps and, where a cluster picks the user's number, nss_wrapper. Debian keeps only the
# newest build of a package, so a pinned version here would soon not install.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnss-wrapper procps tini \
    && rm -rf /var/lib/apt/lists/*

COPY --from=spark /opt/java/openjdk /opt/java/openjdk
COPY --from=spark /opt/spark /opt/spark
COPY --from=spark /opt/entrypoint.sh /opt/decom.sh /opt/
COPY --from=jars /jars/ /opt/spark/jars/

# The slow layer comes before the code: it changes only with the lock file. Every file is held to its hash.
WORKDIR /opt/tlnlp
COPY requirements/score.lock ./requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --require-hashes -r requirements/score.lock

COPY deploy/spark/spark-defaults.conf /opt/spark/conf/
COPY deploy/spark/executor-pod.yaml deploy/spark/driver-pod.yaml /opt/tlnlp/spark/
COPY deploy/images/entrypoint.sh /usr/local/bin/tlnlp-entrypoint
COPY jobs /opt/tlnlp/jobs
COPY conf /opt/tlnlp/conf
COPY tlnlp /opt/tlnlp/tlnlp

# 185 is the number that Spark's own image gives its user; executors write to work-dir and /tmp alone.
RUN groupadd --system --gid 185 spark \
    && useradd --system --uid 185 --gid 185 --home-dir /nonexistent --no-create-home spark \
    && install --directory --owner 185 --group 185 /opt/spark/work-dir

# PYTHONPATH is read by the driver and by the executors' Python workers alike.
ENV JAVA_HOME=/opt/java/openjdk \
    SPARK_HOME=/opt/spark \
    PYSPARK_PYTHON=/usr/local/bin/python3.11 \
    PYTHONPATH=/opt/tlnlp \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/java/openjdk/bin:/opt/spark/bin:/usr/local/bin:/usr/bin:/bin

LABEL org.opencontainers.image.title="tlnlp-score" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# A number, since Kubernetes cannot tell from a name that a user is not root.
USER 185:185
WORKDIR /opt/spark/work-dir
ENTRYPOINT ["/usr/local/bin/tlnlp-entrypoint"]
