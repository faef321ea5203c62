"""Pixels: reading, scaling, cropping and drawing images and videos. Nothing here runs a model."""
