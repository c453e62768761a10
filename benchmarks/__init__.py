"""Speed and memory beside plain implementations of the published algorithms. See README.md."""
