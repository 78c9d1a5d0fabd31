"""The Kubernetes HTTP API on aiohttp: routes, discovery, watch, patches, tables, logs.

Turns requests into store writes and store changes into responses. Decides nothing about placement
or pod life, and is the only room that handles whole objects as JSON.
"""
