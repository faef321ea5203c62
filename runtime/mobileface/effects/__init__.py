"""Effects that change an image: exposure, makeup, hidden and swapped faces, backgrounds."""
