"""Is this machine in order, and how fast is it: health, self-test, certification, tuning."""
