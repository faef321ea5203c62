"""Face tracking in videos: the SORT tracker, its Kalman filter and its assignment."""
