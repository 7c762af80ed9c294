"""Run fits and embedding passes on a Ray cluster, as Ray Train jobs or as tasks. Only this package imports Ray."""
