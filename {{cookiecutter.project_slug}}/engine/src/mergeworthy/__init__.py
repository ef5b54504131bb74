"""From monthly data to a judged model: ml/ (what a data scientist edits), stages/ (DVC), ops/ (the outside world)."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read as ONNX Runtime is imported, whoever started the process
