"""Ollama's dialect: generate and chat."""
