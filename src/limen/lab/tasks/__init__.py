"""The kinds of problems that a study can compare activations on, a folder each; :mod:`registry` names them."""
