"""One file per kind: its names, schema, defaults, validation, printed columns.

A further kind is one small file here and one line in ALL_KINDS. Kinds hold no behaviour over time
(that is controllers/) and do no input or output.
"""
