"""The name servers that are asked for guests."""

from pathlib import Path

from agent.drivers.network.resolvers import PUBLIC, guest_resolvers


def test_configured_ones_win_and_without_uplink_there_are_none(tmp_path: Path) -> None:
    assert guest_resolvers("auto", ("192.0.2.1",), ()) == ("192.0.2.1",)
    assert guest_resolvers("none", ("192.0.2.1",), (_file(tmp_path, "nameserver 192.0.2.1\n"),)) == ()


def test_the_hosts_own_are_used_but_those_of_one_link_only(tmp_path: Path) -> None:
    text = "# comment\nsearch lab\nnameserver 127.0.0.53\nnameserver fe80::1\nnameserver 192.0.2.7\nnameserver\n"
    own = ("127.0.0.53", "192.0.2.7")
    assert guest_resolvers("auto", (), (_file(tmp_path, text),)) == own
    assert guest_resolvers("eth0", (), (tmp_path / "absent", _file(tmp_path, text))) == own
    assert guest_resolvers("auto", (), (_file(tmp_path, "nameserver fe80::1\n"),)) == PUBLIC


def _file(directory: Path, text: str) -> Path:
    path = directory / "resolv.conf"
    path.write_text(text)
    return path
