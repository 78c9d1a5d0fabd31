"""The openb production trace through the HTTP API onto simulated hosts: `make bench-openb`."""
