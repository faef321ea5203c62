"""Following faces through a video: SORT, its filter and its assignment."""
