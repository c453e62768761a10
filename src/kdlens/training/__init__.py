"""How a student is trained: losses, the loop, what is recorded, and exact continuation of a run that was killed."""
