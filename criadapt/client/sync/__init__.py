"""The blocking client, generated from the asynchronous one by scripts/unasync.py but for io.py."""
