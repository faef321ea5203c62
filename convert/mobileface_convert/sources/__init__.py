"""Where source files come from: checkouts, URLs, packages and a cache, each pinned by hash."""
