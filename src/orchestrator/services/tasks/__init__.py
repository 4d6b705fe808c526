"""Durable tasks: taking them in, handing them out to nodes, and recording what became of them."""
