"""Near-optimal packing of a pile of pods on a pile of hosts, with a proven bound.

Columns in, a plan, its bound and an honest status out; anytime, under a deadline. Pure: NumPy and
OR-Tools only. Must not know asyncio, the store, HTTP, Kubernetes objects or plugins, and never
claims more than it has proved; who applies a plan verifies it first.
"""
