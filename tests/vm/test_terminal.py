"""The management terminal in a real browser, on a real guest (SPEC L3-L6)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import paramiko
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.agent import AgentProcess, CallFailed
from tests.support.browser import chromium, keep
from tests.support.ssh import login, run
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

ROOT = "Passw0rd!x"  # of the guest's root
SHIFTED = {"!": "Shift+Digit1", ">": "Shift+Period", "\n": "Enter", " ": "Space"}
COLUMNS, ROWS = 80, 25
# Which cells of the text screen have anything in them, as one string of the rows: `#` and blanks.
INK = """
([columns, rows]) => {
    const canvas = document.querySelector("#screen canvas");
    if (!canvas || !canvas.width) return "";
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const inked = (column, row) => {
        for (let y = Math.ceil(row * height); y < (row + 1) * height; y++)
            for (let x = Math.ceil(column * width); x < (column + 1) * width; x++)
                if (pixels[4 * (y * canvas.width + x)] > 32) return true;
        return false;
    };
    let text = "";
    for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) text += inked(column, row) ? "#" : " ";
        text += "\\n";
    }
    return text;
}
"""


@pytest.fixture(scope="module")
def guest(agent: AgentProcess) -> Iterator[str]:
    instance_id = agent.run_instance(InstanceName="terminal", Password=ROOT)
    agent.wait_status(instance_id, "Running")
    yield instance_id
    if agent.instance(instance_id):
        agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
        agent.wait_status(instance_id, None)


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    keep(page, "terminal-at-the-end")
    page.close()


def url_of(agent: AgentProcess, instance_id: str) -> str:
    return agent.call("DescribeInstanceVncUrl", InstanceId=instance_id)["VncUrl"]


def enter(page: Page, password: str) -> None:
    page.fill("#password", password)
    page.click("#login button")


def press_keys(page: Page, text: str) -> None:
    """Type as a person does: what needs Shift is pressed with it."""
    for character in text:
        page.keyboard.press(SHIFTED.get(character) or (f"Shift+{character}" if character.isupper() else character))
        page.wait_for_timeout(20)  # the guest's keyboard buffer holds few keys


def ink(page: Page) -> str:
    return page.evaluate(INK, [COLUMNS, ROWS])


def cells(client: paramiko.SSHClient, terminal: int) -> str:
    """The text on a virtual terminal, as `ink` tells of it."""
    text = run(client, f"cat /dev/vcs{terminal}").ljust(COLUMNS * ROWS)
    rows = [text[n : n + COLUMNS] for n in range(0, COLUMNS * ROWS, COLUMNS)]
    return "".join("".join(" " if c == " " else "#" for c in row) + "\n" for row in rows)


def shows(page: Page, client: paramiko.SSHClient, terminal: int) -> Callable[[], bool]:
    """Whether the canvas has ink where the guest's terminal has text. A few cells may differ: the blinking cursor,
    and blanks in inverse video."""

    def look() -> bool:
        wanted, seen = cells(client, terminal), ink(page)
        different = sum(a != b for a, b in zip(wanted, seen, strict=False))
        return len(seen) == len(wanted) and different <= 4 and wanted.count("#") > 8

    return look


def test_a_terminal_from_its_first_password_to_its_next(
    agent: AgentProcess, guest: str, page: Page, browser: BrowserContext
) -> None:
    with login(agent, guest, password=ROOT) as client:
        password = _first_connection(agent, guest, page)
        wait_for("the login prompt on the canvas", shows(page, client, 1))
        assert "login:" in run(client, "cat /dev/vcs1")
        keep(page, "terminal-login-prompt")
        _refused_as_second(agent, guest, browser)
        _log_in_and_write_a_file(page, client)
        _paste(page, client)
        _switch_terminals(page, client)
    _go_on_without_the_guests_network(page)
    _outlive_the_agent(agent, page, password)
    _change_the_password(agent, guest, page, password)


def _restart_inside(agent: AgentProcess, guest: str, page: Page) -> None:
    """By Ctrl+Alt+Delete: the connection stays, and the new password still waits."""
    boots = _boots(agent, guest)
    page.click("#keys summary")
    page.click("#ctrl-alt-del")
    wait_for("another boot", lambda: _boots(agent, guest) > boots)
    expect(page.locator("#status")).to_have_text("Connected")
    expect(page.locator("#hint")).to_contain_text("next console restart")


def _boots(agent: AgentProcess, guest: str) -> int:
    output = agent.call("GetInstanceConsoleOutput", InstanceId=guest)["ConsoleOutput"]
    return base64.b64decode(output).count(b"tiny: ready")


def _first_connection(agent: AgentProcess, guest: str, page: Page) -> str:
    page.goto(url_of(agent, guest))
    expect(page.locator("#first-password")).to_have_text(re.compile("^[A-Za-z0-9]{6}$"))
    password = page.inner_text("#first-password")
    keep(page, "terminal-first-password")
    with pytest.raises(CallFailed, match="ModifyInstanceVncPasswd"):
        agent.call("DescribeInstanceVncPasswd", InstanceId=guest)
    enter(page, "wrong1" if password != "wrong1" else "wrong2")
    expect(page.locator("#wrong")).to_have_text("Wrong password.")
    keep(page, "terminal-wrong-password")
    enter(page, password)
    expect(page.locator("#status")).to_have_text("Connected")
    expect(page.locator("#first-password")).to_be_hidden()
    return password


def _refused_as_second(agent: AgentProcess, guest: str, browser: BrowserContext) -> None:
    second = browser.new_page()
    second.goto(url_of(agent, guest))
    expect(second.locator("#title")).to_have_text("The terminal is in use")
    expect(second.locator("#text")).to_contain_text("from 127.0.0.1, since")
    expect(second.locator("#first-password")).to_be_hidden()
    keep(second, "terminal-in-use")
    second.reload()
    expect(second.locator("#text")).to_contain_text("used already")
    keep(second, "terminal-used-address")
    second.close()


def _log_in_and_write_a_file(page: Page, client: paramiko.SSHClient) -> None:
    press_keys(page, "root\n")
    wait_for("the prompt for root's password", lambda: "Password:" in run(client, "cat /dev/vcs1"))
    press_keys(page, f"{ROOT}\n")
    wait_for("a shell", lambda: "~ #" in run(client, "cat /dev/vcs1"))
    press_keys(page, "echo typed > /root/by-key\n")
    wait_for("the file's content", lambda: run(client, "cat /root/by-key 2>/dev/null || true") == "typed\n")


def _paste(page: Page, client: paramiko.SSHClient) -> None:
    every = '#!"$&*()_+{}|:<>?~[]\\;,./`^%@=-AZaz09'
    page.click("#paste")
    page.fill("#paste-text", "é")
    page.click("#type")
    expect(page.locator("#paste-problem")).to_have_text("Not on the keyboard: é")
    page.fill("#paste-text", f"printf '%s' '{every}' > /root/by-paste\n")
    keep(page, "terminal-paste")
    page.click("#type")
    wait_for("the pasted text", lambda: run(client, "cat /root/by-paste 2>/dev/null || true") == every)
    wait_for("all of it on the canvas", shows(page, client, 1))
    keep(page, "terminal-shell")
    page.click("#scale")
    expect(page.locator("#scale")).to_have_text("100 %")
    assert page.locator("#screen canvas").bounding_box()["width"] == 720  # type: ignore[index]
    keep(page, "terminal-100-percent")
    page.click("#scale")


def _switch_terminals(page: Page, client: paramiko.SSHClient) -> None:
    active = "/sys/class/tty/tty0/active"
    for number in (2, 1):
        page.click("#keys summary")
        keep(page, "terminal-keys")
        page.click(f"#f{number}")
        wait_for(f"terminal {number}", lambda wanted=f"tty{number}": run(client, f"cat {active}").strip() == wanted)
        wait_for(f"terminal {number} on the canvas", shows(page, client, number))
        keep(page, f"terminal-tty{number}")


def _go_on_without_the_guests_network(page: Page) -> None:
    press_keys(page, "ip link set eth0 down; clear; echo still here\n")
    wait_for("the answer of a guest without network", lambda: ink(page).startswith("##### ####" + 70 * " " + "\n"))
    keep(page, "terminal-without-network")


def _outlive_the_agent(agent: AgentProcess, page: Page, password: str) -> None:
    before, agent.settings["http"] = agent.settings["http"], urlsplit(page.url).netloc
    agent.stop()
    try:
        expect(page.locator("#title")).to_have_text("The agent does not answer")
        keep(page, "terminal-without-agent")
    finally:
        agent.start()
        agent.settings["http"] = before
    expect(page.locator("#title")).to_have_text("Connect to the screen")
    enter(page, password)
    expect(page.locator("#status")).to_have_text("Connected")
    page.click("#connection")
    expect(page.locator("#title")).to_have_text("Disconnected")
    page.click("#again")
    enter(page, password)
    expect(page.locator("#status")).to_have_text("Connected")


def _change_the_password(agent: AgentProcess, guest: str, page: Page, password: str) -> None:
    page.click("#change")
    new = "Abc123"
    page.fill("#new-password", new)
    page.fill("#new-again", new)
    keep(page, "terminal-change-password")
    page.click("#change-form button[type=submit]")
    expect(page.locator("#hint")).to_contain_text("next console restart")
    _restart_inside(agent, guest, page)
    agent.call("StopInstance", InstanceId=guest, ForceStop="true")
    expect(page.locator("#title")).to_have_text("The instance is Stopped")
    keep(page, "terminal-stopped")
    agent.call("StartInstance", InstanceId=guest)
    expect(page.locator("#title")).to_have_text("Connect to the screen")
    expect(page.locator("#hint")).to_be_empty()
    enter(page, password)
    expect(page.locator("#wrong")).to_have_text("Wrong password.")
    enter(page, new)
    expect(page.locator("#status")).to_have_text("Connected")
    agent.call("DeleteInstance", InstanceId=guest, Force="true")
    expect(page.locator("#title")).to_have_text("The instance is released")
    keep(page, "terminal-released")
