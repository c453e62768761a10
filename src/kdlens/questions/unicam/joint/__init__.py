"""The joint protocol: what one network says about the label that another does not, traced back to the image."""
