"""The composition root: the only place that knows every concrete class of the layers below.

`compose.build` makes an `App`, a running grid; what listens for requests stands above it.
"""
