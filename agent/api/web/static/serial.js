// The serial console: a guest's first serial line, in xterm.js.

import { fit as sized, xterm } from "../serial/xterm.js";
import { Failure, Session } from "./session.js";

const WATCH_MS = 60_000; // while connected: keeps the session
const POLL_MS = 3_000; // while not: shows when the instance runs again
const TAKEN_OVER = 4005;
const SESSION_ENDED = 4001;
const FINAL = ["TokenUsed", "SessionEnded", "InvalidInstanceId.NotFound", "ForeignOrigin", "Forbidden.RAM"];

const at = (id) => document.getElementById(id);
const session = new Session("serial");
const keys = new TextEncoder();
let terminal = null;
let socket = null; // while connecting and connected
let connected = false;
let state = {}; // what the agent last said of the instance
let over = false; // nothing can be done on this page any more
let returns = false; // connect by itself when the instance runs: it was the guest or the agent that went

// ---------------------------------------------------------------------------------------- what is shown

function show(title, text = "", { again = false, force = false } = {}) {
    at("card").hidden = false;
    at("title").textContent = title;
    at("text").textContent = text;
    at("again").hidden = !again;
    at("force").hidden = !force;
    if (again) {
        at("again").focus();
    }
}

function showConnection(light, text) {
    at("light").className = `light ${light}`;
    at("status").textContent = text;
    // Not hidden: a terminal without a place on the page loses its own, and stops to follow its output.
    at("terminal").classList.toggle("away", !connected);
    at("card").hidden = connected;
    at("escape").hidden = !connected;
    at("connection").hidden = !connected;
    for (const id of ["copy", "paste", "size"]) {
        at(id).disabled = !connected;
    }
}

function showState() {
    const name = state.InstanceName || state.InstanceId || "";
    at("name").textContent = name;
    at("id").textContent = state.InstanceId !== name ? state.InstanceId ?? "" : "";
    document.title = name ? `${name} – console` : "Serial console";
}

function showSize() {
    at("hint").textContent = connected ? `${terminal.rows} rows, ${terminal.cols} columns` : "";
}

function showFailure(failure) {
    over = FINAL.includes(failure.code);
    connected = false;
    showConnection("off", "Not connected");
    if (over) {
        const gone = failure.code === "InvalidInstanceId.NotFound";
        show(gone ? "The instance is released" : "This page cannot be used any more", failure.message);
    } else if (failure.code === "Away") {
        returns = true;
        show("The agent does not answer", "This page goes on by itself when it does.");
    } else {
        show("Not connected", failure.message, { again: true });
    }
}

// ---------------------------------------------------------------------------------------- the agent

async function look() {
    state = await session.call("state");
    showState();
}

// Connect if that is possible now, or say why not.
function offer() {
    const runs = ["Running", "Stopping"].includes(state.Status);
    if (runs && !state.Holder) {
        connect();
    } else if (runs) {
        returns = false;
        const since = new Date(state.Holder.Since).toLocaleString();
        show("The console is in use", `By ${state.Holder.User}, since ${since}. One can use it at a time.`,
            { again: true, force: true });
        showConnection("wait", "Not connected: in use");
        at("card").hidden = false;
    } else {
        returns = true;
        show(`The instance is ${state.Status}`, "This page goes on by itself when it runs.");
        showConnection("wait", `Not connected: the instance is ${state.Status}`);
        at("card").hidden = false;
    }
}

async function watch() {
    for (;;) {
        await new Promise((resume) => setTimeout(resume, connected ? WATCH_MS : POLL_MS));
        if (over) {
            return;
        }
        try {
            await look();
            if (!socket && returns && state.Status === "Running") {
                offer();
            }
        } catch (failure) {
            if (failure.code !== "Away" || !socket) {
                showFailure(failure);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------- the connection

function connect(force = false) {
    const mine = session.socket(force ? "stream?force=true" : "stream");
    const words = new TextDecoder(); // a character may come in two messages
    let failed = true;
    socket = mine;
    returns = false;
    terminal.reset();
    showConnection("wait", "Connecting…");
    mine.addEventListener("message", (event) => {
        if (failed) { // the first message: the line is ours
            failed = false;
            connected = true;
            showConnection("on", "Connected");
            fit();
            terminal.focus();
        }
        terminal.write(words.decode(event.data, { stream: true }));
    });
    mine.addEventListener("close", (event) => {
        if (socket === mine) {
            socket = null;
            ended(event, failed);
        }
    });
}

async function ended(closing, failed) {
    connected = false;
    showConnection("off", "Not connected");
    showSize();
    const told = closing.code === TAKEN_OVER ? closing.reason // begins with a name
        : closing.reason.charAt(0).toUpperCase() + closing.reason.slice(1);
    const reason = told || (failed ? "The connection could not be made." : "The connection is lost.");
    try {
        if (closing.code === SESSION_ENDED) {
            throw new Failure("SessionEnded", reason);
        }
        await look();
        if (closing.code === TAKEN_OVER) {
            show("Taken over", reason, { again: true });
        } else if (state.Holder || state.Status !== "Running") {
            offer();
        } else {
            returns = !failed; // a guest that went down a moment ago may still be called Running
            show(failed ? "Not connected" : "Disconnected", reason, { again: true });
        }
    } catch (failure) {
        showFailure(failure);
    }
}

function disconnect() {
    const mine = socket;
    socket = null;
    connected = false;
    returns = false;
    mine?.close();
    showConnection("wait", "Not connected");
    showSize();
}

function send(text) {
    if (connected) {
        socket.send(keys.encode(text));
    }
}

// ---------------------------------------------------------------------------------------- controls

function fit() {
    sized.fit(terminal);
    showSize();
}

function copy() {
    if (terminal.hasSelection()) {
        terminal.focus();
        document.execCommand("copy"); // xterm.js answers with the selection; needs no permission
    }
}

// What belongs to the page, not to the guest.
function ours(event) {
    if (event.type === "keydown" && event.ctrlKey && event.shiftKey && event.code === "KeyC") {
        event.preventDefault();
        copy();
        return true;
    }
    if (event.ctrlKey && event.shiftKey && event.code === "KeyV") {
        return true; // the browser pastes, xterm.js takes it
    }
    if (event.type === "keydown" && event.ctrlKey && event.altKey && event.code === "KeyM") {
        at("connection").focus();
        return true;
    }
    return false;
}

function wireTerminal() {
    terminal = new xterm.Terminal({
        cursorBlink: true,
        fontSize: 15,
        screenReaderMode: true, // the text is beside the canvas, for who cannot see it
        scrollback: 5000,
        theme: { background: "#0b0f14" },
    });
    terminal.open(at("terminal"));
    terminal.on("data", send);
    terminal.attachCustomKeyEventHandler((event) => !ours(event));
    new ResizeObserver(fit).observe(at("stage"));
}

function wirePaste() {
    const dialog = at("paste-dialog");
    at("paste").addEventListener("click", () => {
        dialog.showModal();
        at("paste-text").focus();
        at("paste-text").select();
    });
    dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => terminal.focus());
    dialog.querySelector("form").addEventListener("submit", (event) => {
        event.preventDefault();
        send(at("paste-text").value.replace(/\r\n?|\n/g, "\r"));
        dialog.close();
        terminal.focus(); // before the close event comes: the next key is the guest's
    });
}

function wireButtons() {
    at("copy").addEventListener("click", copy);
    at("size").addEventListener("click", () => {
        send(`stty rows ${terminal.rows} cols ${terminal.cols}\r`);
        terminal.focus();
    });
    at("full").addEventListener("click", () => {
        document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
    });
    at("connection").addEventListener("click", () => {
        disconnect();
        show("Disconnected", "The console is free for others.", { again: true });
    });
    at("again").addEventListener("click", async () => {
        try {
            await look();
            offer();
        } catch (failure) {
            showFailure(failure);
        }
    });
    at("force").addEventListener("click", () => connect(true));
}

async function start() {
    showConnection("wait", "Not connected");
    wireTerminal();
    wirePaste();
    wireButtons();
    try {
        await session.open();
        await look();
        offer();
        watch();
    } catch (failure) {
        showFailure(failure);
    }
}

start();
