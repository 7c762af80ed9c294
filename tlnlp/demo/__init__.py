"""The whole path on reviews that come with the package."""
