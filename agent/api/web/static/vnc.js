// The management terminal: a guest's screen, by noVNC's RFB client.

import RFB from "../assets/novnc/core/rfb.js";
import { Failure, Session } from "./session.js";
import { ctrlAltDelete, ctrlAltFunction, letGo, type, untypable, wake } from "./keys.js";

const WATCH_MS = 60_000; // while connected: keeps the session
const POLL_MS = 3_000; // while not: shows when the instance runs again
const IDLE_MS = 30 * 60_000; // without a key or a click: the terminal is for others
const FUNCTION_KEYS = 10;
// Failures after which nothing can be done on this page.
const LASTING = new Set(["TokenUsed", "SessionEnded", "InvalidInstanceId.NotFound", "ForeignOrigin", "Forbidden.RAM"]);

const at = (id) => document.getElementById(id);
const session = new Session("vnc");
let rfb = null; // while connecting and connected
let connected = false;
let state = {}; // what the agent last said of the instance
let lastInput = Date.now();
let over = false; // nothing can be done on this page any more
let away = false; // the agent did not answer the last time
let hurry = () => {}; // looks at once, instead of at the end of a pause

// ---------------------------------------------------------------------------------------- what is shown

function show(title, text = "", { login = false, again = false } = {}) {
    at("card").hidden = false;
    at("title").textContent = title;
    at("text").textContent = text;
    at("login").hidden = !login;
    at("again").hidden = !again;
    if (login) {
        at("password").focus();
    } else if (again) {
        at("again").focus();
    }
}

function showLogin(title = "Connect to the screen", text = "") {
    show(title, text, { login: true });
}

function showConnection(light, text) {
    at("light").className = `light ${light}`;
    at("status").textContent = text;
    at("screen").hidden = !connected;
    at("card").hidden = connected;
    for (const id of ["ctrl-alt-del", "paste", "scale"]) {
        at(id).disabled = !connected;
    }
    at("keys").classList.toggle("disabled", !connected);
    at("keys").open = false;
    at("change").disabled = over;
    at("escape").hidden = !connected;
    at("connection").hidden = !connected;
}

function showState() {
    const name = state.InstanceName || state.InstanceId || "";
    at("name").textContent = name;
    at("id").textContent = state.InstanceId !== name ? state.InstanceId ?? "" : "";
    document.title = name ? `${name} – terminal` : "Management terminal";
    at("hint").textContent = state.PasswordPending ? "A new password waits for the next console restart." : "";
}

function showFailure(failure) {
    over = LASTING.has(failure.code);
    if (over) {
        disconnect();
        at("first").hidden = true;
        const gone = failure.code === "InvalidInstanceId.NotFound";
        show(gone ? "The instance is released" : "This page cannot be used any more", failure.message);
        showConnection("off", "Not connected");
        at("card").hidden = false;
    } else if (failure.code === "Away") {
        away = true;
        show("The agent does not answer", "This page goes on by itself when it does.");
        showConnection("off", "Not connected: the agent does not answer");
        at("card").hidden = false;
    } else {
        show("Not connected", failure.message, { again: true });
    }
}

// ---------------------------------------------------------------------------------------- the agent

async function look() {
    const known = `${state.Status} ${state.Viewer?.Since}`;
    state = await session.call("state");
    showState();
    return known !== `${state.Status} ${state.Viewer?.Since}`;
}

// What can be done now that there is no connection.
function offer() {
    if (state.Status !== "Running") {
        const starts = ["Starting", "Pending"].includes(state.Status);
        show(`The instance is ${state.Status}`, starts
            ? "This page goes on by itself when it runs."
            : "There is no screen before it runs. This page goes on by itself when it is started.");
        showConnection("wait", `Not connected: the instance is ${state.Status}`);
    } else if (state.Viewer) {
        const { Principal, Source, Since } = state.Viewer;
        const since = new Date(Since).toLocaleString();
        show("The terminal is in use", `By ${Principal} from ${Source}, since ${since}. One can use it at a time.`,
            { again: true });
        showConnection("wait", "Not connected: in use");
    } else {
        showLogin();
        showConnection("wait", "Not connected");
    }
    at("card").hidden = false;
}

async function watch() {
    for (;;) {
        await new Promise((resume) => {
            hurry = resume;
            setTimeout(resume, connected ? WATCH_MS : POLL_MS);
        });
        if (over) {
            return;
        }
        if (Date.now() - lastInput > IDLE_MS) {
            if (rfb) {
                disconnect();
                show("Disconnected", "Nothing was typed for 30 minutes.", { again: true });
            }
            continue; // and the session runs out
        }
        try {
            const changed = await look();
            if (!rfb && (changed || away) && !document.querySelector("dialog[open]")) {
                away = false;
                offer();
            }
        } catch (failure) {
            if (LASTING.has(failure.code) || !rfb) {
                showFailure(failure);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------- the connection

function connect(password) {
    const socket = session.socket("stream");
    let refused = "";
    let closing = null;
    socket.addEventListener("close", (event) => { closing = event; });
    at("wrong").textContent = "";
    const mine = new RFB(at("screen"), socket, { credentials: { password }, shared: true });
    rfb = mine;
    mine.scaleViewport = at("scale").getAttribute("aria-pressed") === "true";
    mine.background = "transparent";
    mine.addEventListener("securityfailure", (event) => { refused = event.detail.reason || "Refused."; });
    mine.addEventListener("connect", () => {
        connected = true;
        at("first").hidden = true;
        at("password").value = "";
        showConnection("on", "Connected");
        mine.focus();
    });
    mine.addEventListener("clipboard", (event) => { at("paste-text").value = event.detail.text; });
    mine.addEventListener("disconnect", () => {
        if (rfb === mine) {
            rfb = null;
            ended(refused, closing);
        }
    });
    showConnection("wait", "Connecting…");
}

// The connection has ended, not by this page: `refused` is what RFB said, `closing` the socket's close event.
async function ended(refused, closing) {
    const was = connected;
    connected = false;
    showConnection("off", "Not connected");
    if (refused) {
        showLogin();
        at("wrong").textContent = refused;
        at("password").select();
        return;
    }
    const reason = closing?.reason || (was ? "The connection is lost." : "The connection could not be made.");
    try {
        await look();
        if (closing?.code === 4001) {
            throw new Failure("SessionEnded", reason);
        }
        if (state.Status !== "Running" || state.Viewer) {
            offer();
        } else {
            show(was ? "Disconnected" : "Not connected", reason, { again: true });
        }
        // A guest that went down a moment ago may still be called Running.
        state.Status = closing?.code === 4004 ? "" : state.Status;
    } catch (failure) {
        showFailure(failure);
    }
    hurry();
}

function disconnect() {
    const mine = rfb;
    rfb = null;
    connected = false;
    mine?.disconnect();
    showConnection("wait", "Not connected");
    hurry();
}

// ---------------------------------------------------------------------------------------- controls

function wireLogin() {
    at("login").addEventListener("submit", (event) => {
        event.preventDefault();
        if (!rfb) {
            connect(at("password").value);
        }
    });
    at("again").addEventListener("click", async () => {
        lastInput = Date.now();
        try {
            await look();
            offer();
        } catch (failure) {
            showFailure(failure);
        }
    });
    at("connection").addEventListener("click", () => {
        disconnect();
        show("Disconnected", "The terminal is free for others.", { again: true });
    });
}

function wireKeys() {
    const send = (action) => () => {
        at("keys").open = false;
        if (rfb) {
            action(rfb);
            rfb.focus();
        }
    };
    at("ctrl-alt-del").addEventListener("click", send(ctrlAltDelete));
    for (let number = 1; number <= FUNCTION_KEYS; number += 1) {
        const button = document.createElement("button");
        button.type = "button";
        button.id = `f${number}`;
        button.textContent = `Ctrl+Alt+F${number}`;
        button.addEventListener("click", send((to) => ctrlAltFunction(to, number)));
        at("function-keys").append(button);
    }
    document.addEventListener("click", (event) => {
        if (!at("keys").contains(event.target)) {
            at("keys").open = false;
        }
    });
    at("keys").addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            at("keys").open = false;
            at("keys").querySelector("summary").focus();
        }
    });
}

function wirePaste() {
    const dialog = at("paste-dialog");
    at("paste").addEventListener("click", () => {
        at("paste-problem").textContent = "";
        dialog.showModal();
        at("paste-text").focus();
        at("paste-text").select();
    });
    at("paste-text").addEventListener("input", () => { at("paste-problem").textContent = ""; });
    dialog.addEventListener("close", () => rfb?.focus());
    dialog.querySelector("form").addEventListener("submit", (event) => {
        event.preventDefault();
        const text = at("paste-text").value;
        const alien = untypable(text);
        if (alien.length) {
            at("paste-problem").textContent = `Not on the keyboard: ${alien.slice(0, 10).join(" ")}`;
            return;
        }
        dialog.close();
        const to = rfb;
        to?.clipboardPasteFrom(text); // for guests that have an agent for it
        type(to, text, () => rfb === to && to !== null);
    });
}

function wireChange() {
    const dialog = at("change-dialog");
    const problem = at("change-problem");
    at("change").addEventListener("click", () => {
        at("change-form").reset();
        problem.textContent = "";
        dialog.showModal();
        at("new-password").focus();
    });
    dialog.addEventListener("close", () => rfb?.focus());
    at("change-form").addEventListener("submit", async (event) => {
        event.preventDefault();
        const password = at("new-password").value;
        if (password !== at("new-again").value) {
            problem.textContent = "The two are not the same.";
            return;
        }
        try {
            await session.call("password", { VncPassword: password });
            dialog.close();
            await look();
        } catch (failure) {
            problem.textContent = failure.message;
        }
    });
}

function wireView() {
    at("scale").addEventListener("click", () => {
        const fit = at("scale").getAttribute("aria-pressed") !== "true";
        at("scale").setAttribute("aria-pressed", String(fit));
        at("scale").textContent = fit ? "Fit" : "100 %";
        if (rfb) {
            rfb.scaleViewport = fit;
            rfb.focus();
        }
    });
    at("full").addEventListener("click", async () => {
        await (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
        rfb?.focus();
    });
    document.addEventListener("fullscreenchange", () => {
        at("full").textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
    });
    for (const button of document.querySelectorAll("[data-close]")) {
        button.addEventListener("click", () => button.closest("dialog").close());
    }
    for (const kind of ["keydown", "pointerdown"]) {
        document.addEventListener(kind, () => { lastInput = Date.now(); }, { capture: true });
    }
    // The guest has all keys, Tab too: one chord leads back to the buttons.
    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey && event.altKey && event.code === "KeyM") {
            event.preventDefault();
            event.stopPropagation();
            if (rfb) {
                letGo(rfb);
            }
            at("full").focus();
        }
    }, { capture: true });
    // A key wakes a blank screen; so shall a click.
    at("screen").addEventListener("pointerdown", () => {
        if (rfb && connected && isBlank()) {
            wake(rfb);
        }
    });
}

function isBlank() {
    const canvas = at("screen").querySelector("canvas");
    if (!canvas?.width || !canvas.height) {
        return false;
    }
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return !pixels.some((value, index) => value && index % 4 !== 3);
}

async function start() {
    wireLogin();
    wireKeys();
    wirePaste();
    wireChange();
    wireView();
    showConnection("wait", "Not connected");
    at("card").hidden = false;
    try {
        state.InstanceId = (await session.open()).InstanceId;
        const password = (await session.call("first-password")).VncPasswd;
        at("first").hidden = !password;
        at("first-password").textContent = password;
        await look();
        offer();
    } catch (failure) {
        showFailure(failure);
    }
    await watch();
}

start();
