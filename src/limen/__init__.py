"""limen: activation functions that learn their shape."""
