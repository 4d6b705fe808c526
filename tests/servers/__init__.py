"""Real servers for tests: private, on loopback, gone when the test session is."""
