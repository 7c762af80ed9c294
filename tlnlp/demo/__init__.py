"""Run the whole path, from labels to a queried table, on reviews that come with the package."""
