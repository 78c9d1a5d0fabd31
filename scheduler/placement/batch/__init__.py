"""Batch placement: a pile of pods becomes a plan with a proven bound, and bindings if asked.

What the rules say becomes numbers for the solver (modelling), which works in a process of its own
(engine); its answer is followed under the very rules that online placement uses (following) and
checked as every plan is; jobs are Placements in the store (jobs). Must not trust the solver: what
the numbers cannot say is left out of them, which keeps the bound valid, and the rules have the
last word.
"""
