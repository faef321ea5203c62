"""The host: CPU, threads, memory, folders and files. Standard library only."""
