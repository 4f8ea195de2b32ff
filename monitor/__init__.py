"""Streaming SLA monitor for authentication providers."""
