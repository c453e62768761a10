"""Is it like the other network, and is it about the task? FSS and RS."""
