"""PostgreSQL holds every fact: revisioned writes, watch, bindings, leadership, decisions.

The only room that speaks SQL. It knows objects as metadata, body and status, never what a kind
means (but for the pod-to-node binding and that a namespace must exist), and never awaits anything
but PostgreSQL.
"""
