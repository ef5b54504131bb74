"""The steps of the workflows: plan, lock, required check, comment, retraining."""
