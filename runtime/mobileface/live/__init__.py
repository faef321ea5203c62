"""Live cameras: capture, tracks with names, events, snapshots, MQTT. Knows nothing of HTTP."""
