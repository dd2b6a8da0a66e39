"""What a container runtime does, whatever the engine: pods, containers, images, state, recovery."""
