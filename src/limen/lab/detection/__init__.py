"""What finding objects needs: boxes, the loss and the answer of default boxes, average precision, networks."""
