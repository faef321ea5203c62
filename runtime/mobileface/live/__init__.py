"""Live cameras: capture, tracks with names, events, snapshots, MQTT. Knows nothing of HTTP.

`hub` holds all cameras; `camera` runs one, with `capture` (frames), `motion_gate` (which ones are
analysed), `votes` (who a track is) and `presence` (who is there); `event_log` keeps events.
"""
