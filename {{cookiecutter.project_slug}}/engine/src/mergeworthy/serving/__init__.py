"""The model behind HTTP: what a row may be, what was known when it was asked for, its score, and the log of it.

`service.py` starts it under BentoML; here is only what answers.
"""
