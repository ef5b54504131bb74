"""Where partitions come from, and the contract that they must keep."""
