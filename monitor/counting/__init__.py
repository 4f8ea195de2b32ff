"""Counting: requests and their classes, chunks, frames, the resolver, days, rolling windows."""
