"""Kafka and friends on this machine, for the first run, the demo and the tests."""
