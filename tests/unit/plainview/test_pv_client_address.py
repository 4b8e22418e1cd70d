"""Who is asking: every form that proxies write, and how far each of them is believed."""

import pytest

from plainview.client_address import (
    client_address,
    client_network,
    is_within,
    may_read,
    parse_networks,
    parse_node,
)

PROXY = "10.0.0.1"
TRUSTED = parse_networks("10.0.0.0/8, ::1, fd00::/8")


def scope(peer: str | None, *forwarded: str, name: bytes = b"x-forwarded-for") -> dict[str, object]:
    headers = [(b"host", b"x"), *((name, value.encode("latin-1")) for value in forwarded)]
    return {"client": (peer, 1) if peer else None, "headers": headers}


# who writes it: what arrives behind one trusted proxy, and the client
WRITTEN = {
    # proxies that append the peer's address (nginx, Apache, HAProxy), or replace what untrusted
    # clients send (Traefik, Caddy), Application Load Balancer (append), Front Door
    "one address": ("203.0.113.7", "203.0.113.7"),
    "one address, IPv6": ("2001:db8:85a3::8a2e:370:7334", "2001:db8:85a3::8a2e:370:7334"),
    "nginx, the client sent one": ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
    "Traefik, link-local with zone": ("fe80::1%eth0", "fe80::1"),
    "Envoy": ("203.0.113.7,10.0.0.9", "203.0.113.7"),
    # ALB with the client's port preserved; Azure Application Gateway and IIS' ARR write it always
    "with its port": ("203.0.113.7:49152", "203.0.113.7"),
    "with its port, IPv6": ("[2001:db8::7]:51003", "2001:db8::7"),
    "ALB behind CloudFront": ("203.0.113.7, 10.130.1.2", "203.0.113.7"),
    "Application Gateway, hops": ("198.51.100.1:1, 203.0.113.7:51003", "203.0.113.7"),
    # Google's load balancer appends client and its own address
    "GCP": ("203.0.113.7,10.11.12.13", "203.0.113.7"),
    "GCP, the client sent one": ("1.1.1.1,203.0.113.7,10.11.12.13", "203.0.113.7"),
    # RFC 7239, section 6, as some write it here as well
    "node in brackets": ("[2001:db8::7]", "2001:db8::7"),
    "zeros": ("2001:0db8:0:0::0007", "2001:db8::7"),
    "node in quotes": ('"[2001:db8::7]:4711"', "2001:db8::7"),
    "node with a hidden port": ("192.0.2.43:_hidden", "192.0.2.43"),
    # an IPv4 client on a socket for both
    "mapped": ("::ffff:203.0.113.7", "203.0.113.7"),
    "mapped, with port": ("[::ffff:203.0.113.7]:99", "203.0.113.7"),
    "white space": (" 203.0.113.7 ,\t10.0.0.2 ", "203.0.113.7"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_load_balancers_write_names_the_client(name):
    written, client = WRITTEN[name]
    assert client_address(scope(PROXY, written), TRUSTED) == client
    assert client_address(scope("203.0.113.200", written), TRUSTED) == "203.0.113.200"


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "_gate", "_gate:80", "rubbish", "[]", "[:80", "[203.0.113.7]", "[2001:db8::1",
     "[2001:db8::1]x", "203.0.113.7:80:80", "203.0.113", "0x7f000001", "010.1.1.1", "1.2.3.4/8",
     "::1]:80", '"', '""', "a" * 10_000],
)  # fmt: skip
def test_what_is_no_address_is_none_and_ends_the_walk(text):
    assert parse_node(text) is None
    assert client_address(scope(PROXY, f"203.0.113.7, {text}"), TRUSTED) == PROXY


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.9", ["1.1.1.1"], "192.0.2.9"),
        (PROXY, ["1.1.1.1, 2.2.2.2, 10.0.0.7"], "2.2.2.2"),
        (PROXY, ["1.1.1.1", "2.2.2.2"], "2.2.2.2"),
        (PROXY, ["10.0.0.3"], "10.0.0.3"),
        (PROXY, ["evil, 10.0.0.3"], "10.0.0.3"),
        (PROXY, [], PROXY),
        ("::1", ["[fd00::5]:80, ::1"], "fd00::5"),
        (None, ["1.1.1.1"], "unknown"),
    ],
)
def test_the_walk_through_trusted_proxies_ends_at_the_first_stranger(peer, forwarded, client):
    assert client_address(scope(peer, *forwarded), TRUSTED) == client
    assert client_address(scope(peer, *forwarded, name=b"forwarded"), TRUSTED) == (
        peer or "unknown"
    )


def test_an_ipv6_client_is_counted_by_its_network():
    one, two = "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:ffff::1"
    assert client_network(one) == client_network(two) == "2001:db8:1:2::/64"
    assert client_network(one, 128) != client_network(two, 128)
    assert client_network(one, 48) == client_network("2001:db8:1:9::1", 48) == "2001:db8:1::/48"
    assert client_network("203.0.113.7") == "203.0.113.7"
    assert client_network("::ffff:203.0.113.7") == "203.0.113.7"
    assert client_network("unknown") == "unknown"


def test_an_ipv6_peer_that_is_an_ipv4_one_is_recognised():
    assert is_within("::ffff:10.1.1.1", parse_networks("10.0.0.0/8"))
    assert not is_within("localhost", parse_networks("0.0.0.0/0"))
    with pytest.raises(ValueError, match="rubbish"):
        parse_networks("10.0.0.0/8,rubbish")


@pytest.mark.parametrize(
    ("peer", "forwarded", "readable"),
    [
        (PROXY, (), True),  # a scraper
        (PROXY, ("192.168.0.5",), False),  # handed on for somebody who is not allowed
        (PROXY, ("10.0.0.5",), True),
        ("192.168.0.5", (), False),
        ("192.168.0.5", ("10.0.0.5",), False),
        (None, (), False),
    ],
)
def test_pages_are_for_clients_of_allowed_networks(peer, forwarded, readable):
    allow = parse_networks("10.0.0.0/8")
    assert may_read(scope(peer, *forwarded), allow, TRUSTED) == readable
    assert may_read(scope(peer, *forwarded), None, TRUSTED)


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded"])
def test_what_a_stranger_handed_on_reads_no_page(name):
    allow = parse_networks("10.0.0.0/8")
    assert may_read(scope(PROXY), allow, ())
    assert not may_read(scope(PROXY, "10.0.0.5", name=name), allow, ())
