"""Effects that change an image: exposure, makeup, covered and swapped faces, backgrounds, drawings."""
