"""The serving machine: exposes a module's methods, runs them for callers who may, and answers.

======================  ================================================================
`backend.loading`       from a file to a loaded module
`backend.expose`        what a module exposes; ``lb.method``
`backend.context`       what a method knows of its call; ``lb.current_call``, ``lb.track``
`backend.service`       requests in, answers out
`backend.offer`         what the module offers, and to whom
`backend.served`        one call that is served
`backend.office`        what it asks of the backend
`backend.admission`     how many calls of a method run, and how many may wait
`backend.objects`       objects that callers have made of exposed classes
`backend.finished`      calls that have ended, kept for callers who missed the answer
`backend.usage`         what one caller takes up, and may
`backend.congestion`    whose turn it is when the line to the broker is full
`backend.running`       a method that runs: how it is slowed and stopped
`backend.execution`     runs one method, from encoded arguments to its encoded outcome
`backend.asking`        functions of the caller, called from the method
`backend.lasting`       encoded values that stay as they are
`backend.output`        what a method prints and logs
`backend.runner`        runs methods in threads, in a loop of their own, or in workers
`backend.threads`       hand-overs between threads
`backend.fair`          whose turn it is
`backend.workers`       the worker processes, as the backend sees them
`backend.worker`        what a worker process does
`backend.workerlink`    messages between the two
`backend.interruption`  stops the code that runs in a worker
`backend.metrics`       what is counted, and its text for monitoring systems
`backend.metrics_http`  the page where those read it
`backend.questions`     answers those who ask how busy the backend is
`backend.approvals`     what waits for the owner of the module
`backend.preview`       what an owner is shown of arguments and values
`backend.logs`          which call a line of the log belongs to
======================  ================================================================

Nothing is imported here, so that ``lb.track`` in a script that runs at home stays light.
"""
