"""Other measures of how interpretable a network is: five-band score, DiffROAR, alignment of gradients with objects."""
