"""The stages of dvc.yaml: each reads files, calls the project, and writes files. Each also runs without DVC."""
