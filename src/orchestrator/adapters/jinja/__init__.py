"""Templates through Jinja; a template of a user is rendered in a process of its own."""
