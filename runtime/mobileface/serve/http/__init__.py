"""HTTP: routes, keys, limits, and what errors look like. A module of routes per subject.

A request passes `measured`, `body_limits` and `guard`, before `app` gives it to a route, which only
translates: what is computed is in `mobileface.serve`, without FastAPI.
"""
