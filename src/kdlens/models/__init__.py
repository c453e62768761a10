"""Networks: find them by name, load their weights safely, look into their layers, and leave them as they were."""
