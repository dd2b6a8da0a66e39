"""The HTTP server behind the addresses that Exec, Attach and PortForward hand out."""
