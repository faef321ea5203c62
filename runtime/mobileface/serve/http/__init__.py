"""HTTP: routes, keys, limits, and what errors look like. A module of routes per subject."""
