"""The two input contracts, labelled examples and documents, and the text functions they share."""
