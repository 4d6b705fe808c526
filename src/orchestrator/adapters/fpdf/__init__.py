"""Documents in PDF through fpdf2; Markdown is read by markdown-it-py. Runs in processes of its own."""
