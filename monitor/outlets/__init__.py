"""What goes out: metrics, health, records for topics."""
