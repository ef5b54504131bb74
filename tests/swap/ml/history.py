"""What becomes known over time: nothing. dvc.yaml names this file, so that a project of another kind leaves it empty."""
