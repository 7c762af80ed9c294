#!/usr/bin/env bash
# Put what Spark 4.1.2 needs for s3a:// into a folder: run it once per image, or once per node into $SPARK_HOME/jars.
#
#   deploy/spark/fetch-s3-jars.sh FOLDER
#
# Spark and hadoop-aws must agree to the patch version: 3.4.2 is the Hadoop inside Spark 4.1.2, and the AWS SDK is the
# one that this hadoop-aws was built with. On the class path, rather than --packages: the SDK alone is 600 MB, which
# every run would fetch, and copy to every executor, again.
set -euo pipefail
folder=${1:?give the folder to put the jars into}
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
