"""An attempt to break the engine, and the books that show whether it came to anything."""
