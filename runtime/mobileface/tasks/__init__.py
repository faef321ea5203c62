"""One module for each task on a face.

Detection, landmarks, alignment, pose, attributes and embedding.
"""
