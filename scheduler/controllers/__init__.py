"""One file per controller: reads informers, writes the store, level-triggered and idempotent.

Controllers do not call each other, the API, placement or drivers.
"""
