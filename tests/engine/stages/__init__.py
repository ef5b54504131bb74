"""A package, so that the processes of a training that a test starts can import the test's functions."""
