"""One agent per host, run centrally: observes the engine, runs the pod lifecycle, writes status.

`lifecycle` is a pure machine; agents carry out its instructions through drivers. Must not decide
where pods run (placement) nor how many there are (controllers).
"""
