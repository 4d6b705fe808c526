"""This service as an MCP server. What imports the SDK is imported late: it takes a second."""
