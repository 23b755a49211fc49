"""The serial console and the screen of a real guest, at a real terminal (SPEC L7)."""

from __future__ import annotations

import base64
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.agent import HOST, REPOSITORY, AgentProcess, CallFailed
from tests.support.browser import chromium, keep
from tests.support.libvirtd import PrivateLibvirt
from tests.support.pty_session import PtySession
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

NAME, PASSWORD = "console-guest", "Passw0rd!x"
Attach = Callable[..., PtySession]


@pytest.fixture(scope="module")
def guest(agent: AgentProcess) -> Iterator[str]:
    """A guest that has booted up to its login prompt, with a password."""
    instance_id = agent.run_instance(InstanceName=NAME, HostName="serial", Password=PASSWORD)
    wait_for("the login prompt", lambda: b"serial login:" in console_output(agent, instance_id), 180)
    yield instance_id
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)


def console_output(agent: AgentProcess, instance_id: str) -> bytes:
    return base64.b64decode(agent.call("GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"])


@pytest.fixture
def environ(agent: AgentProcess, tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ECSCTL_", "ALIBABA_CLOUD_"))}
    return kept | {
        "ECSCTL_HOME": str(tmp_path),
        "ECSCTL_ENDPOINT": f"unix://{agent.socket}",
        "PYTHONPATH": str(REPOSITORY),
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ecsctl", "instance", *arguments]


@pytest.fixture
def attach(environ: dict[str, str], guest: str) -> Iterator[Attach]:
    """`attach(...)`: ecsctl instance console at a terminal, connected."""
    open_ones: list[PtySession] = []

    def start(*options: str) -> PtySession:
        session = PtySession(command("console", *options, NAME), environ)
        open_ones.append(session)
        session.expect("q leaves")
        wait_for("the raw terminal", lambda: session.is_raw, 10)
        return session

    yield start
    for session in open_ones:
        session.__exit__()


def leave(session: PtySession) -> None:
    session.send("\x1dq")
    assert session.end() == 0
    assert session.attributes() == session.before


def log_in(session: PtySession) -> None:
    """From wherever the line is to a shell's prompt."""
    session.send("\r")
    session.expect("login:")
    session.send("root\r")
    session.expect("assword:")
    session.send(f"{PASSWORD}\r")
    session.expect("# ")


def test_login_command_menu_and_leaving(attach: Attach, agent: AgentProcess, guest: str) -> None:
    session = attach()
    session.expect("serial login:")  # shown again: it was written before anybody was attached
    log_in(session)
    session.send("echo $((6*7))-$(hostname)\r")
    session.expect("42-serial")
    session.send("""sh -c 'trap "echo caught; exit" INT; echo rea""dy; while :; do sleep 1; done'\r""")
    session.expect("ready\r\n")
    session.send("\x03")  # belongs to the guest
    session.expect("caught\r\n")
    session.expect("# ")

    session.resize(41, 132)
    session.send("\x1d")
    session.expect("q: leave")
    session.send("s")
    session.expect("# ")
    session.send("stty size\r")
    session.expect("41 132")
    session.send("\x1dx\x1d\x1d\r")  # nothing, then the key itself
    session.expect("# ")
    leave(session)
    assert b"42-serial" in console_output(agent, guest)  # the log went on


def test_a_second_user_is_told_and_may_take_over(attach: Attach, environ: dict[str, str], guest: str) -> None:
    first = attach()
    done = subprocess.run(command("console", NAME), env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f'console of the instance "{guest}" is in use by root on this host since 20' in done.stderr
    second = attach("--force")
    assert first.end() == 1
    assert b"root on this host took the console over" in first.seen
    assert first.attributes() == first.before
    second.send('echo tak""en\r')  # in the shell of the first test
    second.expect("taken\r\n")
    leave(second)


def test_signals_put_the_terminal_back(attach: Attach) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        session = attach()
        session.process.send_signal(number)
        assert session.end() == 128 + number
        assert session.attributes() == session.before


def test_input_from_a_pipe(environ: dict[str, str], guest: str) -> None:
    piped = command("console", "--idle", "1", NAME)
    done = subprocess.run(piped, env=environ, input=b"echo $((6*7))\n", capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"42" in done.stdout  # in the shell of the first test


def test_much_output_comes_whole(attach: Attach) -> None:
    session = attach()
    session.send('stty -echo; echo be""gin; seq 1 4000; echo the-""end\r')  # to the shell of the first test
    session.expect("begin\r\n")
    text = session.expect("the-end\r\n", 120)
    assert [line for line in text.split() if line.isdigit()] == [str(n) for n in range(1, 4001)]
    session.send("stty echo\r")
    leave(session)


def test_a_virsh_console_is_respected(
    attach: Attach, agent: AgentProcess, guest: str, libvirtd: PrivateLibvirt
) -> None:
    virsh = ["virsh", "-c", libvirtd.uri, "console", f"{agent.prefix}-{guest}"]
    with PtySession(virsh, dict(os.environ)) as other:
        other.expect("Escape character")
        path = agent.call("OpenConsole", HOST, InstanceId=guest)["Path"]
        assert path
        session = attach("--force")
        other.end()
        leave(session)


def test_screenshot(agent: AgentProcess, environ: dict[str, str], guest: str, tmp_path: Path) -> None:
    file = tmp_path / "screen.png"
    subprocess.run(command("screenshot", "--wake", NAME, str(file)), env=environ, check=True, capture_output=True)
    width, height, rows = read_png(file.read_bytes())
    assert (width, height) >= (640, 400)
    assert len(set(rows)) > 10  # text: rows of pixels differ


def read_png(data: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of an RGB PNG whose rows are not filtered."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    start = data.index(b"IDAT")
    [length] = struct.unpack(">I", data[start - 4 : start])
    pixels = zlib.decompress(data[start + 4 : start + 4 + length])
    return width, height, [pixels[(3 * width + 1) * y : (3 * width + 1) * (y + 1)] for y in range(height)]


@pytest.fixture
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context
        for number, page in enumerate(context.pages):
            keep(page, f"serial-console-at-the-end-{number}")


def open_page(agent: AgentProcess, browser: BrowserContext, guest: str) -> Page:
    """A new page with the console; what the browser complains of is kept in `page.complaints`."""
    page = browser.new_page()
    page.complaints = []  # type: ignore[attr-defined]
    page.on("console", lambda message: message.type == "error" and page.complaints.append(message.text))  # type: ignore[attr-defined]
    page.goto(agent.call("DescribeInstanceConsoleUrl", HOST, InstanceId=guest)["ConsoleUrl"])
    return page


def shown(page: Page) -> str:
    """The text of the terminal, which xterm.js keeps beside its canvas."""
    return "\n".join(page.locator(".xterm-accessibility-tree > div").all_inner_texts()).replace("\xa0", " ")


def test_in_the_browser(agent: AgentProcess, browser: BrowserContext, attach: Attach, guest: str) -> None:
    page = open_page(agent, browser, guest)
    expect(page.locator("#status")).to_have_text("Connected")
    expect(page.locator("#name")).to_have_text(NAME)
    page.keyboard.type("clear; echo $((6*7))-in-the-browser\n")
    wait_for("the command's effect", lambda: "42-in-the-browser" in shown(page))
    assert b"42-in-the-browser" in console_output(agent, guest)

    page.set_viewport_size({"width": 900, "height": 500})
    size = page.locator("#hint")
    expect(size).not_to_have_text("")
    page.click("#size")
    page.click("#paste")
    page.fill("#paste-text", "stty size\necho pas''ted")
    page.click("#type")
    page.keyboard.press("Enter")
    wait_for("what was pasted", lambda: "\npasted" in shown(page))
    rows, columns = (word for word in size.inner_text().split() if word.isdigit())
    assert f"\n{rows} {columns}\n" in shown(page)
    keep(page, "serial-console")

    second = open_page(agent, browser, guest)
    expect(second.locator("#title")).to_have_text("The console is in use")
    expect(second.locator("#text")).to_contain_text("root on this host, in a browser at 127.0.0.1")
    keep(second, "serial-console-in-use")
    second.click("#force")
    expect(second.locator("#status")).to_have_text("Connected")
    expect(page.locator("#title")).to_have_text("Taken over")
    session = attach("--force")
    expect(second.locator("#text")).to_contain_text("root on this host took the console over")
    leave(session)
    second.click("#again")
    expect(second.locator("#status")).to_have_text("Connected")
    second.reload()
    expect(second.locator("#text")).to_contain_text("used already")
    assert page.complaints == []  # type: ignore[attr-defined]


def test_a_page_outlives_the_guests_restart(agent: AgentProcess, browser: BrowserContext, guest: str) -> None:
    page = open_page(agent, browser, guest)
    expect(page.locator("#status")).to_have_text("Connected")
    boots = console_output(agent, guest).count(b"tiny: ready")
    agent.call("RebootInstance", InstanceId=guest, ForceStop="true")
    expect(page.locator("#status")).not_to_have_text("Connected")
    expect(page.locator("#status")).to_have_text("Connected")
    wait_for("the next boot", lambda: console_output(agent, guest).count(b"tiny: ready") > boots)
    wait_for("its login prompt", lambda: shown(page).rstrip().endswith("serial login:"))
    keep(page, "serial-console-after-a-restart")


def test_the_agent_goes_and_the_guest_stays(attach: Attach, agent: AgentProcess, guest: str) -> None:
    session = attach()
    agent.kill()
    assert session.end() == 5
    assert b"the agent is gone" in session.seen
    assert session.attributes() == session.before
    agent.start()
    leave(attach())  # nobody holds it any more


def test_the_end_of_the_guest_is_told(attach: Attach, agent: AgentProcess, environ: dict[str, str], guest: str) -> None:
    session = attach()
    agent.call("StopInstance", InstanceId=guest, ForceStop="true")
    assert session.end() == 0
    assert b"console-guest has stopped" in session.seen
    assert session.attributes() == session.before
    agent.wait_status(guest, "Stopped")
    done = subprocess.run(command("console", NAME), env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"ecsctl instance start {NAME}" in done.stderr
    for action in ("GetInstanceScreenshot", "OpenConsole"):
        with pytest.raises(CallFailed) as refused:
            agent.call(action, HOST if action == "OpenConsole" else "2014-05-26", InstanceId=guest)
        assert refused.value.code == "IncorrectInstanceStatus"
    agent.call("StartInstance", InstanceId=guest)
    agent.wait_status(guest, "Running")
