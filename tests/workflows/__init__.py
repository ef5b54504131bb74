"""The generated workflows, run for real: pushes become verdicts against a stand-in of GitHub."""
