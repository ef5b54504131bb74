"""The steps of the workflows: from a push to its verdict, the comment, and retraining."""
