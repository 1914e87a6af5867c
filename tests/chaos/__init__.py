"""A network in a storm: real processes that are killed, frozen and cut off, and a judge who counts what became of it.

``orders`` says what is called and ``weather`` what goes wrong, both from one seed; ``served`` is what is called,
``caller`` who calls; ``proxy`` stands in every way to the broker; ``storm`` runs it all, ``record`` is what was seen,
``judge`` says whether the promises were kept, and ``report`` writes it down.
"""
