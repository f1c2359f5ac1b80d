"""The report: one HTML page, drawn from a study's stored records alone, that opens without a network."""
