"""The model behind HTTP: the schema of a request, the lookup of history, scoring, and the prediction log.

`service.py` defines the service for BentoML, `server.py` runs it, `app.py` loads the model. Nothing here is imported
by the pipeline.
"""
