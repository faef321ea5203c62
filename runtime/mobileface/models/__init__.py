"""What a model is (spec), where it lies (index, lookup), and how its network runs (session).

Nothing here knows a task; nothing but `session` imports ONNX Runtime.
"""
