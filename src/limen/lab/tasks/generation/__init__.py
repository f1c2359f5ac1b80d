"""Generation: the task, its network and training, the distance of generated images from real ones."""
