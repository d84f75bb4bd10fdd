"""Where a webhook may go, and that it goes there and nowhere else."""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

import pytest

from core.webhooks import addresses
from core.webhooks.addresses import Refused, resolved, why_not
from core.webhooks.attempt import attempt, new_client
from core.webhooks.signing import new_secret
from tests.webhooks.receiver import Receiver

NEVER = [
    "169.254.169.254", "169.254.0.1", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "fd00:ec2::254", "100.100.100.200",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "fd12::1", "100.64.0.1",
    "::ffff:127.0.0.1", "64:ff9b::7f00:1", "192.0.2.1",
]  # fmt: skip
PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "172.32.0.1", "64:ff9b::808:808"]


@pytest.mark.parametrize("text", NEVER)
def test_never(text):
    assert why_not(ipaddress.ip_address(text), private=True)


@pytest.mark.parametrize("text", PRIVATE)
def test_only_where_the_setting_allows_it(text):
    address = ipaddress.ip_address(text)
    assert "PREFLOOP_WEBHOOK_PRIVATE" in (why_not(address, private=False) or "")
    assert why_not(address, private=True) is None


@pytest.mark.parametrize("text", PUBLIC)
def test_the_open_net(text):
    assert why_not(ipaddress.ip_address(text), private=False) is None


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """The resolver answers these, one list a question; which names were asked for."""
    asked: list[str] = []
    left = list(answers)

    def getaddrinfo(host, port, *_, **__):
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_is_judged_by_what_it_leads_to(monkeypatch):
    names(monkeypatch, ["10.0.0.1"], ["10.0.0.1", "8.8.8.8"])
    parts = urlsplit("https://innocent.example")
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        asyncio.run(resolved(parts, private=False))
    assert asyncio.run(resolved(parts, private=False)) == "8.8.8.8"
    # Other ways to write an address are names to the resolver, and judged the same.
    monkeypatch.undo()
    for odd in ("http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://localhost/"):
        with pytest.raises((Refused, OSError)):
            asyncio.run(resolved(urlsplit(odd), private=False))


def send(url: str, private: bool = True):
    async def once():
        async with new_client() as client:
            return await attempt(client, url, new_secret(), "id", {"type": "x"}, private)

    return asyncio.run(once())


def test_it_connects_to_the_address_that_was_checked_and_says_the_name(monkeypatch):
    """A name that leads elsewhere the second time (DNS rebinding) gains nothing."""
    with Receiver() as receiver:
        port = urlsplit(receiver.url).port
        asked = names(monkeypatch, ["127.0.0.1"], ["203.0.113.1"])
        answer = send(f"http://hooks.example:{port}/here")
        assert answer.delivered and asked == ["hooks.example"]
        assert receiver.got[0].headers["host"] == f"hooks.example:{port}"


def test_redirects_and_proxies_are_not_followed(monkeypatch):
    with Receiver([302], {"location": "/elsewhere"}) as receiver:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        answer = send(receiver.url)
        assert not answer.delivered and "redirect" in (answer.error or "")
        assert [item.path for item in receiver.got] == ["/hooks?from=prefloop"]


def test_what_is_refused_is_not_even_connected_to(monkeypatch):
    with Receiver() as receiver:
        answer = send(receiver.url, private=False)
        assert answer.final and "PREFLOOP_WEBHOOK_PRIVATE" in (answer.error or "") and receiver.got == []


def test_a_receiver_that_does_not_answer_is_left(monkeypatch):
    monkeypatch.setattr("core.webhooks.attempt.TIMEOUT_S", 0.2)
    import threading

    with Receiver(hold=threading.Event()) as receiver:
        assert send(receiver.url).error == "no answer within 0 s"
    assert "resolved" in (send("http://nowhere.invalid/").error or "")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/"
    answer = send(closed)
    assert answer.error and not answer.final
    assert addresses.MAX_URL > 100
