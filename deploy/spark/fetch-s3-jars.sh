#!/usr/bin/env bash
# Fetch the jars that Spark 4.1.2 needs for s3a:// into a folder. Run it once for an image, or once on each node with
# the folder $SPARK_HOME/jars.
#
#   deploy/spark/fetch-s3-jars.sh FOLDER
#
# The version of hadoop-aws must be that of the Hadoop inside Spark (3.4.2 in Spark 4.1.2), and the AWS SDK must be the
# version that hadoop-aws was built with. The jars are on the class path and not in --packages, because every run would
# fetch the SDK (600 MB) again and copy it to every executor.
set -euo pipefail
folder=${1:?give the folder for the jars as the argument}
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy
jars=(
    org.apache.spark:spark-hadoop-cloud_2.13:4.1.2               # binds Hadoop's S3A committers to Parquet
    org.apache.hadoop:hadoop-aws:3.4.2                           # s3a://
    software.amazon.awssdk:bundle:2.29.52                        # the AWS SDK
    software.amazon.s3.analyticsaccelerator:analyticsaccelerator-s3:1.3.0
)
for jar in "${jars[@]}"; do
    mvn --batch-mode --quiet "$plugin" -Dartifact="$jar" -DoutputDirectory="$folder"
done
