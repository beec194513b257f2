"""A pipeline on an event loop: many calls over one connection, each with its own answer or none."""

from __future__ import annotations

import asyncio
import sys
import time
from fcntl import ioctl
from termios import FIONREAD
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import await_true, hung

from shop.redis.pipeline import CHUNK, Pipeline

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from dev.embedded.servers import Redis

ECHO = "return ARGV[1]"


class Heard:
    """The events that a pipeline has reported."""

    def __init__(self) -> None:
        self.lost: list[Exception] = []
        self.told: list[Any] = []


def run(
    server: Redis, play: Callable[[Pipeline, Heard], Awaitable[None]], timeout: float = 60
) -> Heard:
    """Run a test with an open pipeline to a server."""
    heard = Heard()

    def connect() -> Any:
        made: Any = redis.Redis(unix_socket_path=str(server.socket), protocol=3)
        connection = made.connection_pool.make_connection()
        connection.connect()
        return connection

    async def main() -> None:
        pipeline = Pipeline(
            connect, timeout, when_lost=heard.lost.append, when_pushed=heard.told.append
        )
        await pipeline.open()
        await play(pipeline, heard)
        pipeline.close(redis.ConnectionError("the test ends"))

    asyncio.run(main())
    return heard


def test_each_call_gets_its_own_answer(redis_server: Redis) -> None:
    async def play(pipeline: Pipeline, _: Heard) -> None:
        sent = [f"{number}" * (number % 50) for number in range(2000)]
        calls = [pipeline.evaluate(ECHO, [], [text]) for text in sent]
        assert await asyncio.gather(*calls) == [text.encode() for text in sent]

    assert not run(redis_server, play).lost


def test_commands_that_exceed_the_socket_buffer_are_sent_later(redis_server: Redis) -> None:
    async def play(pipeline: Pipeline, _: Heard) -> None:
        large = "x" * 3_000_000
        calls = [pipeline.evaluate(ECHO, [], [f"{number}{large}"]) for number in range(8)]
        answers = await asyncio.gather(*calls)
        assert [answer[:1] for answer in answers] == [b"%d" % number for number in range(8)]
        assert await pipeline.call("PING") == b"PONG"

    assert not run(redis_server, play).lost


def test_an_error_is_the_answer_of_its_call_alone(redis_server: Redis) -> None:
    async def play(pipeline: Pipeline, _: Heard) -> None:
        calls = [pipeline.call("PING"), pipeline.call("NONSENSE"), pipeline.call("PING")]
        first, second, third = await asyncio.gather(*calls, return_exceptions=True)
        assert (first, third) == (b"PONG", b"PONG")
        assert isinstance(second, redis.ResponseError)

    assert not run(redis_server, play).lost


def test_commands_of_one_call_have_their_answers_in_one(redis_server: Redis) -> None:
    """An error is one of the answers; calls around it have their own."""

    async def play(pipeline: Pipeline, _: Heard) -> None:
        before = pipeline.call("ECHO", "before")
        each = pipeline.call_each([("ECHO", "1"), ("NONSENSE",), ("ECHO", "2")])
        after = pipeline.call("ECHO", "after")
        assert (await before, await after) == (b"before", b"after")
        first, second, third = await each
        assert (first, third) == (b"1", b"2")
        assert isinstance(second, redis.ResponseError)

    assert not run(redis_server, play).lost


def test_a_call_of_several_commands_fails_as_a_whole(own_redis: Redis) -> None:
    async def play(pipeline: Pipeline, _: Heard) -> None:
        with hung(own_redis):
            with pytest.raises(redis.TimeoutError):
                await pipeline.call_each([("ECHO", "1"), ("ECHO", "2")])
            with pytest.raises(redis.ConnectionError):
                await pipeline.call_each([("PING",)])
        await pipeline.open()
        assert await pipeline.call_each([("PING",), ("ECHO", "3")]) == [b"PONG", b"3"]

    run(own_redis, play, timeout=0.3)


def test_a_large_answer_that_has_come_is_not_late(redis_server: Redis) -> None:
    """All pieces are read before the time is checked."""
    size = 2 * CHUNK + 1
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        client.set("large", b"x" * size)

    async def play(pipeline: Pipeline, _: Heard) -> None:
        answer = pipeline.call("GET", "large")
        await asyncio.sleep(0)  # in which it is sent
        await_true(lambda: unread(pipeline.connection._sock) > size)
        time.sleep(0.6)  # noqa: ASYNC251  (the loop is to stand still)
        assert len(await answer) == size

    assert not run(redis_server, play, timeout=0.3).lost


def unread(source: socket.socket) -> int:
    """Return how many bytes have come and were not read."""
    count = ioctl(source, FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


def test_a_late_answer_is_never_that_of_another_call(own_redis: Redis) -> None:
    """All calls under way fail with the first that is late, and the connection with them."""

    async def play(pipeline: Pipeline, heard: Heard) -> None:
        await pipeline.call("SET", "a", "of the first")
        with hung(own_redis):
            calls = [pipeline.call("GET", "a"), pipeline.call("PING")]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(answer) for answer in answers] == 2 * [redis.TimeoutError]
            assert not pipeline.is_open
            with pytest.raises(redis.ConnectionError):
                await pipeline.call("PING")
        await pipeline.open()
        assert await pipeline.call("PING") == b"PONG"

    assert len(run(own_redis, play, timeout=0.2).lost) == 1


def test_a_delayed_event_loop_loses_no_answer(redis_server: Redis) -> None:
    """The loop reads the bytes that are there before it gives Redis up."""

    async def play(pipeline: Pipeline, _: Heard) -> None:
        for _again in range(5):
            call = pipeline.call("PING")
            await asyncio.sleep(0)  # it is sent
            time.sleep(0.3)  # noqa: ASYNC251  (the process is held up)
            assert await call == b"PONG"
            call = pipeline.call("PING")
            time.sleep(0.3)  # noqa: ASYNC251  (ahead of sending)
            assert await call == b"PONG"

    assert not run(redis_server, play, timeout=0.1).lost


def test_a_server_that_ends_ends_the_pipeline(own_redis: Redis) -> None:
    async def play(pipeline: Pipeline, heard: Heard) -> None:
        await asyncio.get_running_loop().run_in_executor(None, own_redis.stop)
        while not heard.lost:  # noqa: ASYNC110  (the loop appends to it)
            await asyncio.sleep(0.01)
        assert not pipeline.is_open

    assert len(run(own_redis, play).lost) == 1


def test_invalidations_arrive_before_the_answers_of_later_commands(redis_server: Redis) -> None:
    """The order is that of Redis, for changes by any client."""
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as other:

        async def play(pipeline: Pipeline, heard: Heard) -> None:
            await pipeline.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "told:")
            for number in range(200):
                name = f"told:{number}"
                other.set(name, 1)
                other.set(f"other:{number}", 1)
                await pipeline.call("PING")
                assert heard.told[-1] == [b"invalidate", [name.encode()]]
                other.delete(name)
                await pipeline.call("PING")
                assert len(heard.told) == 2 * number + 2
            other.flushdb()
            await pipeline.call("PING")
            assert heard.told[-1] == [b"invalidate", None]

        run(redis_server, play)
