"""Fits and readings on a Ray cluster: the Ray Train job and its workers, tasks side by side, or this process alone."""
