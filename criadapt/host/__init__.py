"""What the Linux kernel does for pods, whatever the engine."""
