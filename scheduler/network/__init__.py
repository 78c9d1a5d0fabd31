"""Service addresses and names on the hosts. Speaks only through the store."""
