"""gRPC in, core calls out: three lines per RPC."""
