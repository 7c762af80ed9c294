"""Compute class probabilities from token ids: one engine for every encoder, and faster ones for some."""
