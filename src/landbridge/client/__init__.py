"""The calling machine: connects, finds modules, and makes their methods look as if they were local.

======================  ===============================================================
`client.link`           one connection: drives a `Caller` for each call, keeps the catalogue
`client.network`        what people hold: `Network`, institutes, modules
`client.method`         methods, and how they are called
`client.call`           a call that was started: result, progress, cancel
`client.aio`            the same for asyncio
`client.access`          where a network is and who one is there
`client.observers`       who is told what happens to a call
`client.watching`       what is shown of a call to whoever waits: a line in a terminal, a card in a notebook
`client.card`           that card
`client.glance`         what notebooks show of networks, modules and methods
`client.html`           how that is written, harmlessly
`client.types`           the types of signatures, one class for each
`client.load`            asks backends how busy they are
`client.loop`           the thread that does the I/O of the blocking face
======================  ===============================================================
"""
