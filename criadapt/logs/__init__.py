"""Container logs in CRI format: lines, files, and the pump that fills them."""
