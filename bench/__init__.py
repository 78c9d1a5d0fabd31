"""Benchmarks: real processes, real PostgreSQL, the HTTP API. They print; they assert no times."""
