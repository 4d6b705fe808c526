"""Pages of the web, read with selectolax (Lexbor). Its functions run in processes of their own."""
