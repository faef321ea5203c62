"""Writers: a source graph in another format."""
