"""The rows: the same work for each contestant, on the same broker, one after another."""
