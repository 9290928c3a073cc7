"""Caches replies to repeated inputs. Pure: time arrives as `now`; the codec defines keys and replies.

A key holds the whole input and not a hash of it, so a hash collision cannot return the answer to another request:
Python compares keys with equal hashes in full. Python's hash of bytes is seeded at random in each process, so clients
cannot provoke collisions. docs/adr/0004-cache-keys.md has the alternatives and what they cost.
"""

from collections.abc import Hashable, Sequence
from operator import itemgetter

from cachetools import LRUCache

from skylane.server.core.batch_task import BatchTask
from skylane.server.core.types import Array, Call

ARRAY_BYTES = 130
"""Memory of an array's Python object besides its elements."""
ENTRY_BYTES = 500
"""Memory of one entry's Python objects besides the bytes of key and reply; measured in `test_reply_cache.py`."""

Entry = tuple[float, bytes, int, Sequence[Array]]
"""(instant of expiry, reply, bytes counted towards the bound, the model's outputs if they are recorded)."""
Hit = tuple[int, Entry]
"""(index of the call in its task, what is cached for it)."""


class ReplyCache:
    """An LRU cache of replies, bounded in bytes and in time (`ttl_s`), that also merges equal calls in flight.

    Each served version has its own: keys need not contain the version, and a new version starts with an empty cache.
    Not thread-safe: the version's lock guards it.

    cachetools.LRUCache keeps the order and the sum of bytes; only the followers are our own code. An OrderedDict with a
    sum of our own took 0.08 instead of 0.11 µs to miss, 0.13 instead of 0.25 to hit, and 0.45 instead of 2.0 to store a
    reply and evict another: at most 1.6 µs of a request that runs the model, for code that others maintain.
    """

    def __init__(self, max_bytes: int, ttl_s: float, followers_max: int = 8192) -> None:
        """`followers_max`: how many calls may follow others at a time. Further equal calls are queued themselves."""
        self._replies: LRUCache[Hashable, Entry] = LRUCache(max_bytes, getsizeof=itemgetter(2))
        self._ttl_s = ttl_s
        self._leaders: dict[Hashable, Call] = {}
        self._following, self._followers_max = 0, followers_max

    @property
    def used_bytes(self) -> int:
        """Bytes in use, never above `max_bytes`."""
        return int(self._replies.currsize)

    def look_up(self, task: BatchTask, now: float) -> tuple[list[Hit], BatchTask]:
        """Split a task into the calls with a cached reply, and a task of those that must run.

        A call equal to one that waits or runs is in neither: it follows that call, its leader; `settle` returns it.
        """
        hits: list[Hit] = []
        fresh: list[int] = []
        for place, (call, key) in enumerate(zip(task.calls, task.keys(), strict=True)):
            entry = self._entry(key, now)
            if entry is not None:
                hits.append((place, entry))
            elif (leader := self._leaders.get(key)) is not None:
                if self._following < self._followers_max:
                    leader.followers = leader.followers or []
                    leader.followers.append(call)
                    self._following += 1
                else:
                    fresh.append(place)
            else:
                call.key = key
                self._leaders[key] = call
                fresh.append(place)
        return hits, task if len(fresh) == len(task.calls) else task.select(fresh)

    def settle(self, leader: Call) -> list[Call]:
        """Remove and return the followers of this call. No call can follow it any more."""
        if leader.key is not None and self._leaders.get(leader.key) is leader:
            del self._leaders[leader.key]
        followers, leader.followers = leader.followers or [], None
        self._following -= len(followers)
        return followers

    def get(self, key: Hashable, now: float) -> bytes | None:
        """The cached reply, or None if there is none or it has expired."""
        entry = self._entry(key, now)
        return entry[1] if entry is not None else None

    def store(self, key: Hashable, key_bytes: int, reply: bytes, now: float, outputs: Sequence[Array] = ()) -> None:
        """Cache a reply, unless it is larger than the whole cache. `outputs`: arrays of their own, which nothing else
        keeps in memory."""
        size = key_bytes + len(reply) + ENTRY_BYTES
        if outputs:
            size += sum([ARRAY_BYTES + array.nbytes for array in outputs])
        if size <= self._replies.maxsize:
            self._replies[key] = (now + self._ttl_s, reply, size, outputs)

    def _entry(self, key: Hashable, now: float) -> Entry | None:
        entry = self._replies.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._replies[key]
            return None
        return entry
