"""Effects that change an image: exposure, makeup, unrecognizable faces and the background."""
