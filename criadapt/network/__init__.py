"""How a pod gets its addresses: the port, and the engine's own network."""
