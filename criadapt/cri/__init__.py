"""The only room that speaks protobuf: generated messages, their translation to the model, status codes."""
