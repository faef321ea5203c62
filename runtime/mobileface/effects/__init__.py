"""Effects that change an image: exposure correction and makeup."""
