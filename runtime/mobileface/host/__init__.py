"""What this machine is: CPU, threads, memory, folders and files. Standard library only."""
