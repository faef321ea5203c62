"""Exports of networks without a recipe, and to ncnn and Caffe; each one is verified."""
