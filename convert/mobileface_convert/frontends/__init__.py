"""Front-ends: readers for the model files of other frameworks."""
