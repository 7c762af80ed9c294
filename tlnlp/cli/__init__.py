"""The ``tlnlp`` command line: its subcommands, their options, and how each process starts and ends."""
