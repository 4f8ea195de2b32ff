"""The promise as pure values: terms, periods, bands, exclusions, credits, statements, support clocks."""
