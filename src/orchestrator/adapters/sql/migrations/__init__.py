"""The schema's history. `schema.py` runs it; a database is never changed in any other way."""
