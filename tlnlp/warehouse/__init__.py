"""Hold the result tables: schema, catalog, audit of staged files, atomic publish, cleaning, DDL and SQL queries."""
