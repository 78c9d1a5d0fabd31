"""Pure values of the Kubernetes object model: kinds, metadata, quantities, selectors, typed views.

Does no input or output, knows no store and no HTTP; everything here is a function of its arguments.
"""
