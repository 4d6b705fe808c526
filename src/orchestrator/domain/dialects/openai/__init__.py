"""OpenAI's dialect: chat completions, completions and the Responses API."""
