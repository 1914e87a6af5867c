"""The store that zarr-python reads a remote data set through, with the suite that zarr-python publishes for stores."""

import asyncio
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
import pytest_asyncio
import xarray as xr
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype
from zarr.testing.store import StoreTests

from landbridge.datasets.zarrkeys import ZarrKeys
from landbridge.datasets.zarrstore import ZarrStore
from landbridge.errors import Malformed

PROTOTYPE = default_buffer_prototype()
READ_ONLY = "store was opened in read-only mode and does not support writing"


class Values:
    """Answers keys from a dict, and keeps what was asked for. Can be pickled and compared, as callers' `get` can."""

    def __init__(self, values):
        self.values, self.calls = dict(values), []

    def __eq__(self, other):
        return isinstance(other, Values) and self.values == other.values

    __hash__ = None

    async def get(self, wanted):
        self.calls.append(list(wanted))
        await asyncio.sleep(0)
        return [None if (value := self.values.get(key)) is None else value[start:stop] for key, start, stop in wanted]


class Bound:
    """`Values.get` as an object that can be pickled, and compares as its values do."""

    def __init__(self, values):
        self.values = values

    def __eq__(self, other):
        return isinstance(other, Bound) and self.values == other.values

    __hash__ = None

    def __call__(self, wanted):
        return self.values.get(wanted)


def data():
    return xr.Dataset(
        {"v": (("x", "y"), np.arange(40.0).reshape(5, 8)), "s": ((), 3), "none": (("x", "z"), np.zeros((5, 0)))}
    )


class Keys(Values):
    """Answers keys of a data set."""

    def __init__(self, dataset, chunks):
        super().__init__({})
        self.keys = ZarrKeys(dataset, lambda name, part: dataset[name].variable[part].values, lambda name: chunks)

    async def get(self, wanted):
        self.calls.append(list(wanted))
        await asyncio.sleep(0)
        return [self.keys.get(*one) for one in wanted]


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("landbridge.datasets.zarrtypes.CHUNK_BYTES", 64)


@pytest.fixture
def keys(small_chunks):
    return Keys(data(), {"x": 2, "y": 3})


ALL_KEYS = {"zarr.json", "v/zarr.json", "s/zarr.json", "s/c", "none/zarr.json"} | {
    f"v/c/{row}/{column}" for row in range(3) for column in range(3)
}


async def collected(keys):
    return [key async for key in keys]


# --- the suite of zarr-python -------------------------------------------------------------------------------------


async def refuses_writing(store):
    """Every way to write ends in the error that zarr-python has for stores opened read-only."""
    value = cpu.Buffer.from_bytes(b"bar")
    for writing in (
        store.set("foo", value),
        store.set_if_not_exists("foo", value),
        store._set_many([("foo", value)]),
        store.delete("foo"),
        store.delete_dir("foo"),
        store.clear(),
    ):
        with pytest.raises(ValueError, match=READ_ONLY):
            await writing
    assert not await store.exists("foo")


class TestZarrStore(StoreTests[ZarrStore, cpu.Buffer]):
    """The suite writes through the store where it needs values; those parts assert here that writing is refused."""

    store_cls = ZarrStore
    buffer_cls = cpu.Buffer

    @pytest_asyncio.fixture
    async def store(self, open_kwargs):
        return await self.store_cls.open(**open_kwargs)

    @pytest_asyncio.fixture
    async def store_not_open(self, store_kwargs):
        return self.store_cls(**store_kwargs)

    @pytest.fixture
    def store_kwargs(self):
        return {"get": Bound(Values({})), "address": "geomar/sst"}

    async def set(self, store: ZarrStore, key: str, value: Buffer) -> None:
        store._get.values.values[key] = value.to_bytes()

    async def get(self, store: ZarrStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(store._get.values.values[key])

    def test_store_repr(self, store):
        assert repr(store) == "ZarrStore('geomar/sst')"

    def test_store_supports_writes(self, store):
        assert not store.supports_writes

    def test_store_supports_listing(self, store):
        assert store.supports_listing

    def test_store_read_only(self, store):
        assert store.read_only
        with pytest.raises(AttributeError):
            store.read_only = False

    async def test_serializable_store(self, store):
        await self.set(store, "foo", self.buffer_cls.from_bytes(b"\x01\x02\x03\x04"))
        again = pickle.loads(pickle.dumps(store))
        assert again == store
        assert again.read_only
        assert (await again.get("foo", PROTOTYPE)).to_bytes() == b"\x01\x02\x03\x04"

    async def test_store_open_read_only(self, open_kwargs):
        store = await self.store_cls.open(**open_kwargs)
        assert store._is_open
        assert store.read_only
        with pytest.raises(TypeError, match="read_only"):
            await self.store_cls.open(**open_kwargs, read_only=False)

    async def test_read_only_store_raises(self, store):
        await refuses_writing(store)

    async def test_with_read_only_store(self, store):
        reader = store.with_read_only(read_only=True)
        assert reader == store
        assert not reader._is_open
        await refuses_writing(reader)
        with pytest.raises(NotImplementedError, match="with_read_only is not implemented"):
            store.with_read_only(read_only=False)

    async def test_exists(self, store):
        assert not await store.exists("foo/zarr.json")
        await self.set(store, "foo/zarr.json", self.buffer_cls.from_bytes(b"bar"))
        assert await store.exists("foo/zarr.json")
        assert store._get.values.calls[-1] == [("foo/zarr.json", 0, 0)]

    async def test_set_not_open(self, store_not_open):
        await refuses_writing(store_not_open)

    async def test_set(self, store):
        await refuses_writing(store)

    async def test_set_if_not_exists(self, store):
        await self.set(store, "k", self.buffer_cls.from_bytes(b"0000"))
        for key in ("k", "k2"):
            with pytest.raises(ValueError, match=READ_ONLY):
                await store.set_if_not_exists(key, self.buffer_cls.from_bytes(b"1111"))

    test_set_many = test_delete = test_delete_dir = test_delete_nonexistent_key_does_not_raise = test_clear = test_set

    # Listing is made from the metadata of a group, so it is shown on a real one, not on arbitrary keys.

    async def test_getsize_prefix(self, small_chunks):
        store = ZarrStore(Keys(data(), {"x": 2, "y": 3}).get, "geomar/sst")
        assert await store.getsize_prefix("v/c") == 9 * 2 * 3 * 8

    async def test_is_empty(self, store, keys):
        assert await store.is_empty("")
        real = ZarrStore(keys.get, "geomar/sst")
        assert not await real.is_empty("")
        assert not await real.is_empty("v")
        assert not await real.is_empty("v/c/")
        assert await real.is_empty("none/c")
        assert await real.is_empty("spam/")

    async def test_list(self, store, keys):
        assert await collected(store.list()) == []
        listed = await collected(ZarrStore(keys.get, "geomar/sst").list())
        assert sorted(listed) == sorted(ALL_KEYS)

    async def test_list_prefix(self, keys):
        store = ZarrStore(keys.get, "geomar/sst")
        for prefix in ("", "v", "v/", "v/c/1", "v/c/1/", "s/c", "z", "zarr.json", "none/c", "w", "v/c/0/0/"):
            listed = await collected(store.list_prefix(prefix))
            assert sorted(listed) == sorted(key for key in ALL_KEYS if key.startswith(prefix))

    test_list_empty_path = test_list_prefix

    async def test_list_dir(self, store, keys):
        assert await collected(store.list_dir("")) == []
        real = ZarrStore(keys.get, "geomar/sst")
        for folder in ("", "v", "v/c", "v/c/1", "s", "none", "none/c", "w", "v/c/7", "v/c/0/0", "s/c"):
            below = {key.removeprefix(f"{folder}/" if folder else "") for key in ALL_KEYS if key.startswith(folder)}
            children = {key.split("/")[0] for key in below if key and (not folder or f"{folder}/{key}" in ALL_KEYS)}
            assert sorted(await collected(real.list_dir(folder))) == sorted(children)
            assert sorted(await collected(real.list_dir(folder + "/"))) == sorted(children)

    # The store has no face without a loop: a caller's own thread would wait for the network.

    def test_get_sync(self, store):
        assert not hasattr(store, "get_sync")

    test_get_sync_missing = test_get_sync

    def test_set_sync(self, store):
        assert not hasattr(store, "set_sync")
        assert not hasattr(store, "delete_sync")

    test_delete_sync = test_delete_sync_missing = test_set_sync


for name, member in inspect.getmembers(TestZarrStore, inspect.iscoroutinefunction):
    if name.startswith("test_"):
        setattr(TestZarrStore, name, pytest.mark.asyncio(member))


# --- what is sent -------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_is_asked_for_in_one_turn_travels_as_one_call():
    values = Values({f"v/c/{number}": bytes([number]) for number in range(10)})
    store = ZarrStore(values.get, "geomar/sst")
    asked = [f"v/c/{number}" for number in (3, 1, 12, 9)]
    got = await asyncio.gather(*(store.get(key, PROTOTYPE) for key in asked))
    assert [buffer and buffer.to_bytes() for buffer in got] == [b"\x03", b"\x01", None, b"\x09"]
    assert values.calls == [[(key, None, None) for key in asked]]


@pytest.mark.asyncio
async def test_a_call_carries_at_most_64_keys_and_about_16_mb():
    values = Values({})
    store = ZarrStore(values.get, "geomar/sst")
    await asyncio.gather(*(store.get(f"v{number}/zarr.json", PROTOTYPE) for number in range(150)))
    assert [len(call) for call in values.calls] == [64, 64, 22]
    values.calls.clear()
    await asyncio.gather(*(store.get(f"v/c/{number}", PROTOTYPE) for number in range(40)))
    assert [len(call) for call in values.calls] == [16, 16, 8]
    values.calls.clear()
    parts = [RangeByteRequest(5, 10), OffsetByteRequest(4), SuffixByteRequest(2), SuffixByteRequest(0)]
    await store.get_partial_values(PROTOTYPE, [("v/c/0", part) for part in parts])
    assert values.calls == [[("v/c/0", 5, 10), ("v/c/0", 4, None), ("v/c/0", -2, None), ("v/c/0", 0, 0)]]


@pytest.mark.asyncio
async def test_an_error_of_a_call_reaches_everybody_who_waits_for_it():
    async def get(wanted):
        raise ConnectionError("the owner is away")

    store = ZarrStore(get, "geomar/sst")
    got = await asyncio.gather(store.get("a", PROTOTYPE), store.get("b", PROTOTYPE), return_exceptions=True)
    assert [str(error) for error in got] == ["the owner is away"] * 2


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [[], [b"a", b"b"], ["text"], [3]])
async def test_an_answer_that_does_not_fit_is_refused(answer):
    async def get(wanted):
        return answer

    with pytest.raises(Malformed):
        await ZarrStore(get, "geomar/sst").get("a", PROTOTYPE)


@pytest.mark.asyncio
async def test_giving_up_one_key_leaves_the_others_and_giving_up_all_ends_the_call():
    begun, ended, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def get(wanted):
        begun.set()
        try:
            await go.wait()
        finally:
            ended.set()
        return [b"x"] * len(wanted)

    store = ZarrStore(get, "geomar/sst")
    first, second = (asyncio.create_task(store.get(key, PROTOTYPE)) for key in "ab")
    await begun.wait()
    first.cancel()
    go.set()
    assert (await second).to_bytes() == b"x"
    for event in (begun, ended, go):
        event.clear()
    alone = asyncio.create_task(store.get("a", PROTOTYPE))
    await begun.wait()
    alone.cancel()
    await asyncio.wait_for(ended.wait(), 10)


@pytest.mark.asyncio
@pytest.mark.parametrize("root", [b"", b"[]", b"{}", b'{"consolidated_metadata": null}', b"\xff"])
async def test_metadata_that_describe_no_group_are_refused_when_listing(root):
    store = ZarrStore(Values({"zarr.json": root}).get, "geomar/sst")
    with pytest.raises(Malformed):
        await collected(store.list())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("shape", "chunks"), [([2.5], [1]), ([2], [0]), ([-1], [1]), ([2], [1, 1]), ([True], [1]), (3, [1])]
)
async def test_grids_that_can_not_be_are_refused_when_listing(shape, chunks):
    import json

    array = {"shape": shape, "chunk_grid": {"configuration": {"chunk_shape": chunks}}}
    root = json.dumps({"consolidated_metadata": {"metadata": {"v": array}}}).encode()
    store = ZarrStore(Values({"zarr.json": root}).get, "geomar/sst")
    with pytest.raises(Malformed):
        await collected(store.list())


# --- with zarr and xarray -----------------------------------------------------------------------------------------


def test_opening_takes_one_call_and_a_selection_only_its_chunks(keys):
    store = ZarrStore(keys.get, "geomar/sst")
    group = zarr.open_consolidated(store, mode="r")
    assert len(keys.calls) == 1  # with the keys of version 2, for which zarr looks at the same time
    keys.calls.clear()
    assert group["v"][0, :6].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert sorted(key for call in keys.calls for key, *_ in call) == ["v/c/0/0", "v/c/0/1"]


def test_writing_through_zarr_or_xarray_is_refused(keys):
    store = ZarrStore(keys.get, "geomar/sst")
    with pytest.raises(ValueError, match="read-only"):
        zarr.open_group(store, mode="r+")
    with pytest.raises(ValueError, match="read-only"):
        data().to_zarr(store, mode="w", consolidated=False)
    array = zarr.open_array(store, path="v", mode="r")
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


def test_dask_reads_from_many_threads(keys):
    lazy = xr.open_zarr(ZarrStore(keys.get, "geomar/sst"), consolidated=True)
    assert lazy["v"].chunks == ((2, 2, 1), (3, 3, 2))
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), data())


def test_without_zarr_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['zarr'] = None\n"
        "from landbridge.errors import MissingExtra\n"
        "import landbridge.datasets.zarrkeys\n"
        "try: import landbridge.datasets.zarrstore\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'landbridge[zarr]'" in done.stdout
