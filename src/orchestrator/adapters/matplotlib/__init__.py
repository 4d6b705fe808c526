"""Charts through matplotlib; runs in processes of its own."""
