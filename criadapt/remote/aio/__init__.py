"""Sessions, and the streams in them."""
