"""Fit one encoder: its batches, losses, training steps and linear head. No module here imports Ray."""
