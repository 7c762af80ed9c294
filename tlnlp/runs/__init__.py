"""What every run has, whatever it does: a ledger, a cost, progress on the screen, an environment."""
