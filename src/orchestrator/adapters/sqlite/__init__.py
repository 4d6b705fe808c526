"""SQLite files of the operator's, asked in a process of their own. The service's own database is in adapters.sql."""
