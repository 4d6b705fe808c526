"""Images through Pillow; its functions run in processes of their own."""
