"""How fast the library claims, beside other clients, in one run: see `python -m benchmarks.speed --help`."""
