"""The truth about tenants, as a deterministic object: a message in, effects out."""
