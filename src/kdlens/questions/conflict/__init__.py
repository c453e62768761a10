"""How a network settles conflicts between classes: gradients that pull apart, and how experts are shared."""
