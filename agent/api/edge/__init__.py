"""The edge of the API: signatures, wire forms, the table of actions, their dispatch, and the server.

How to write an action: registry.py; its parameters: params.py; lists: paging.py; what a handler may use: call.py.
"""
