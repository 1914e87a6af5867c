"""Data sets that stay with their owner: opened lazily by colleagues, who get the parts they select and nothing else.

The owner's side: `sources` opens files, `view` answers what is asked of one version of a data set, `selection` decides
what to read for it, `zarrkeys` shows it as a Zarr store, `serving` exposes it. The reader's side: `remote` has the
arrays that fetch what is asked of them, `opening` makes an `xarray.Dataset` of them, `zarrstore` a store that Zarr
reads. What they say to each other is described in ``spec/datasets.md``.
"""

MEMBER_OF_FILE = "data"
"""What the data set of a module is called that serves a file; opened, too, where only the module is named."""
