"""Provide what every run needs: ledger, cost, progress display, console output, process environment."""
