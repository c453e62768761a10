"""How much of every part of the input a layer discards."""
