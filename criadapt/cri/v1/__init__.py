"""The CRI v1 in Python, generated from proto/runtime/v1/api.proto by scripts/gen_proto.py."""
