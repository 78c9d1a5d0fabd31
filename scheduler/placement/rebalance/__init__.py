"""Rebalancing: fewer hosts for the same pods, and room for pods that wait, by moving a few.

movability (who may go) → floor (a what-if on which moves are tried, by filters, checker and the
rulebook of batch rules) → planner (room, defragmenting, consolidating or improving, with the
solver's help and bound) → jobs (shows the plan, then moves start-first, under a budget). A move is
an annotation on the pod: its controller starts the replacement, which placement puts on the node it
is nominated to, and then deletes the pod.
"""
