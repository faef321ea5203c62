"""Sources of pinned files: checkouts, downloads with a cache, and installed packages."""
