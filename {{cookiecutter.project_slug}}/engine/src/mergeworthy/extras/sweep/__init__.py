"""`make sweep`: a search over params.yaml, here or on a Ray cluster, that offers the best as a change."""
