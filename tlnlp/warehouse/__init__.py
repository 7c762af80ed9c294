"""The tables: one schema, the catalog in the warehouse, the atomic publish, the audit before it, the query after it."""
