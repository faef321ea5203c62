"""Models: specs (`spec`), stored files (`index`, `lookup`) and running networks (`session`).

Nothing here depends on a task, and only `session` imports ONNX Runtime.
"""
