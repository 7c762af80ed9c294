"""One module for each page: it reads the parameters of the address, and returns what the template of the page shows."""
