"""The report on a pull request."""

MARKER = "<!-- pipeline report -->"  # identifies our comment, whoever sent it last
