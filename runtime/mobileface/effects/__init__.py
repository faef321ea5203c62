"""Effects that change an image: exposure, makeup, covered faces, backgrounds and drawings."""
