# The score image: Spark, its S3A connector and the locked Python environment. Driver and executors run this image.
#
#   docker build -f deploy/images/score.Dockerfile -t "$IMAGE_REGISTRY/score:$IMAGE_TAG" .
#
# Apache's Spark image has Python 3.10, and tlnlp needs 3.11. So the base is a Python image, and Spark, Java and the
# entrypoint are copied from Apache's image.

FROM docker.io/apache/spark:4.1.2-scala2.13-java17-ubuntu AS spark

FROM docker.io/library/maven:3.9.11-eclipse-temurin-17 AS jars
COPY deploy/spark/fetch-s3-jars.sh /usr/local/bin/
RUN fetch-s3-jars.sh /jars

FROM docker.io/library/python:3.11.15-slim-trixie

# Spark's entrypoint needs tini, ps and, where a cluster chooses the user id, nss_wrapper. Versions are not pinned:
# Debian offers only the newest build of a package, so a pinned version would soon fail to install.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnss-wrapper procps tini \
    && rm -rf /var/lib/apt/lists/*

COPY --from=spark /opt/java/openjdk /opt/java/openjdk
COPY --from=spark /opt/spark /opt/spark
COPY --from=spark /opt/entrypoint.sh /opt/decom.sh /opt/
COPY --from=jars /jars/ /opt/spark/jars/

# The packages are installed before the code is copied, so this slow layer changes only with the lock file. pip checks
# the hash of every file.
WORKDIR /opt/tlnlp
COPY requirements/score.lock ./requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --require-hashes -r requirements/score.lock

COPY deploy/spark/spark-defaults.conf /opt/spark/conf/
COPY deploy/spark/executor-pod.yaml /opt/tlnlp/spark/
COPY deploy/images/entrypoint.sh /usr/local/bin/tlnlp-entrypoint
COPY jobs /opt/tlnlp/jobs
COPY conf /opt/tlnlp/conf
COPY tlnlp /opt/tlnlp/tlnlp

# 185 is the user id in Spark's own image. Executors write to work-dir and /tmp only.
RUN groupadd --system --gid 185 spark \
    && useradd --system --uid 185 --gid 185 --home-dir /nonexistent --no-create-home spark \
    && install --directory --owner 185 --group 185 /opt/spark/work-dir

# The driver and the Python workers of executors read PYTHONPATH.
ENV JAVA_HOME=/opt/java/openjdk \
    SPARK_HOME=/opt/spark \
    PYSPARK_PYTHON=/usr/local/bin/python3.11 \
    PYTHONPATH=/opt/tlnlp \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/java/openjdk/bin:/opt/spark/bin:/usr/local/bin:/usr/bin:/bin

LABEL org.opencontainers.image.title="tlnlp-score" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# A numeric user: Kubernetes cannot verify by a name that a user is not root.
USER 185:185
WORKDIR /opt/spark/work-dir
ENTRYPOINT ["/usr/local/bin/tlnlp-entrypoint"]
