"""The nightly Spark job: score the documents of one day and publish the scores."""
