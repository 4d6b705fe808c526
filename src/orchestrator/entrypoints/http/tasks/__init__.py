"""The routes below /api/v1: nodes, tasks and what belongs to them, as the predecessor's clients know them.

`routers.ROUTERS` has them all. It is not exported here, because the error handlers, which the routes need, take their
form from `envelope`.
"""
