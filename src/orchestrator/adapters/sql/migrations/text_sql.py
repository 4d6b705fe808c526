"""SQLite's index of words: an FTS5 table over a table of texts, which triggers keep."""

from __future__ import annotations

# Words come with nothing but spaces between them: the tokenizer `ascii` takes every other character for part of a word.
INDEX = (
    "CREATE VIRTUAL TABLE {name}_fts USING fts5(title, body, content='{name}', content_rowid='seq', "
    "tokenize='ascii', prefix='2 3', columnsize=0)",
    """
CREATE TRIGGER {name}_added AFTER INSERT ON {name} BEGIN
  INSERT INTO {name}_fts (rowid, title, body) VALUES (NEW.seq, NEW.title, NEW.body);
END
""",
    """
CREATE TRIGGER {name}_removed AFTER DELETE ON {name} BEGIN
  INSERT INTO {name}_fts ({name}_fts, rowid, title, body) VALUES ('delete', OLD.seq, OLD.title, OLD.body);
END
""",
    """
CREATE TRIGGER {name}_changed AFTER UPDATE OF title, body ON {name}
WHEN OLD.title IS NOT NEW.title OR OLD.body IS NOT NEW.body BEGIN
  INSERT INTO {name}_fts ({name}_fts, rowid, title, body) VALUES ('delete', OLD.seq, OLD.title, OLD.body);
  INSERT INTO {name}_fts (rowid, title, body) VALUES (NEW.seq, NEW.title, NEW.body);
END
""",
)
