"""The stages of dvc.yaml: each reads files, calls the project, and writes files.

`python -m mergeworthy.stages.<name>` runs one without DVC.
"""
