"""Effects that change an image: exposure correction, makeup, hidden and swapped faces."""
