"""A server that misbehaves as it is told, keeps its own ledger, and shares no code with the library."""
