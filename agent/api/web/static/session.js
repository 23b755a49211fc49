// A page's session with the agent: the one-time token of the address is exchanged for it, then every request carries
// it and some answers bring a fresh one. It lives in this page's memory only.

export class Failure extends Error {
    constructor(code, message) {
        super(message);
        this.code = code;
    }
}

const AWAY = new Failure("Away", "The agent cannot be reached.");

export class Session {
    constructor(page) {
        this.page = page;
        this.text = "";
    }

    // Exchange the token. The address keeps it, used up, so that a reload can tell what is wrong.
    async open() {
        const token = location.hash.slice(1);
        if (!token) {
            throw new Failure("TokenUsed", "This address is incomplete: ask for a new one.");
        }
        return this.call("open", { Token: token });
    }

    // The answer to a request of this page; throws Failure.
    async call(what, body = {}) {
        const headers = { "Content-Type": "application/json" };
        if (this.text) {
            headers.Authorization = `Bearer ${this.text}`;
        }
        let response, answer;
        try {
            response = await fetch(`${this.page}/${what}`, { method: "POST", headers, body: JSON.stringify(body) });
            answer = await response.json();
        } catch {
            throw AWAY;
        }
        if (!response.ok) {
            throw new Failure(answer.Code, answer.Message);
        }
        if (answer.Session) {
            this.text = answer.Session;
        }
        return answer;
    }

    // A websocket of this page, in binary messages.
    socket(what) {
        const url = new URL(`${this.page}/${what}`, location.href);
        url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
        url.hash = "";
        const socket = new WebSocket(url, ["binary", `ecs.session.${this.text}`]);
        socket.binaryType = "arraybuffer";
        return socket;
    }
}
