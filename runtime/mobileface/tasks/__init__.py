"""The tasks: detection, landmarks, alignment, pose, attributes and embedding."""
