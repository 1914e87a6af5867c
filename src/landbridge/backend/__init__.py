"""The serving machine: exposes a module's methods, runs them for callers who may, and answers.

======================  ================================================================
`backend.loading`       from a file to a loaded module
`backend.expose`        what a module exposes; ``lb.method``
`backend.context`       what a method knows of its call; ``lb.current_call``, ``lb.track``
`backend.service`       requests in, answers out
`backend.served`        one call that is served
`backend.usage`         what one caller takes up, and may
`backend.runner`        runs methods in threads and in a loop of their own
`backend.threads`       hand-overs between threads
======================  ================================================================

Nothing is imported here, so that ``lb.track`` in a script that runs at home stays light.
"""
