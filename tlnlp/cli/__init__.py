"""The ``tlnlp`` command: its commands and options, and how a process starts and ends."""
