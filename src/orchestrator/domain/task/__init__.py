"""Durable tasks: their states, what they ask of nodes, and the order in which they are handed out."""
