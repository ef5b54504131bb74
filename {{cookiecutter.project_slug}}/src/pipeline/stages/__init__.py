"""One short module per DVC stage: read files, call ml, write files. Each also runs without DVC: `python -m …`."""
