"""The six architectures, one file each."""
