"""The tools that come with the service: files and media."""
