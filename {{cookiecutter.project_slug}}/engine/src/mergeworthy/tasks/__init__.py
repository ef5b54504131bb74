"""What is predicted: each task with its target, its metrics and its checks."""
