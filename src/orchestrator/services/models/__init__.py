"""Models in the memories and on the disks of nodes."""
