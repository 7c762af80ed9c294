"""The nightly Spark job: documents in, one published day out."""
