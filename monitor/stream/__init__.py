"""Faust: the app, the batch transport, agents, the table, topics, commits."""
