// Keys as the guest's keyboard knows them: where a character is on the US layout, which guests have at first.

const SHIFT = [0xffe1, "ShiftLeft"];
const CONTROL = [0xffe3, "ControlLeft"];
const ALT = [0xffe9, "AltLeft"];
const DELETE = [0xffff, "Delete"];
const F1 = 0xffbe;

// A keyboard's buffer is small, and a slow guest empties it slowly.
const PAUSE_MS = 25;

const PLACES = new Map([
    ["\n", ["Enter", false, 0xff0d]],
    ["\t", ["Tab", false, 0xff09]],
    [" ", ["Space", false]],
]);

function place(characters, shifted, codes) {
    codes.forEach((code, index) => {
        PLACES.set(characters[index], [code, false]);
        PLACES.set(shifted[index], [code, true]);
    });
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
place(LETTERS.toLowerCase(), LETTERS, [...LETTERS].map((letter) => `Key${letter}`));
place("1234567890", "!@#$%^&*()", [..."1234567890"].map((c) => `Digit${c}`));
place("-=[]\\;'`,./", "_+{}|:\"~<>?", [
    "Minus", "Equal", "BracketLeft", "BracketRight", "Backslash", "Semicolon", "Quote", "Backquote", "Comma", "Period",
    "Slash",
]);

// Press all, the last one briefly, and release them in reverse.
function chord(rfb, ...keys) {
    keys.forEach(([keysym, code]) => rfb.sendKey(keysym, code, true));
    keys.reverse().forEach(([keysym, code]) => rfb.sendKey(keysym, code, false));
}

export function ctrlAltDelete(rfb) {
    chord(rfb, CONTROL, ALT, DELETE);
}

export function ctrlAltFunction(rfb, number) {
    chord(rfb, CONTROL, ALT, [F1 + number - 1, `F${number}`]);
}

// A key that types nothing, for a screen that sleeps.
export function wake(rfb) {
    chord(rfb, SHIFT);
}

// Release what a person still holds as the guest stops listening.
export function letGo(rfb) {
    for (const [keysym, code] of [CONTROL, ALT, [0xffe4, "ControlRight"], [0xffea, "AltRight"]]) {
        rfb.sendKey(keysym, code, false);
    }
}

// The characters of the text that are not on the keyboard, each once.
export function untypable(text) {
    return [...new Set(normal(text))].filter((character) => !PLACES.has(character));
}

// Type the text; `going` says before each character whether to go on.
export async function type(rfb, text, going) {
    for (const character of normal(text)) {
        if (!going()) {
            return;
        }
        const [code, shifted, keysym] = PLACES.get(character);
        const key = [keysym ?? character.codePointAt(0), code];
        chord(rfb, ...(shifted ? [SHIFT, key] : [key]));
        await new Promise((resume) => setTimeout(resume, PAUSE_MS));
    }
}

function normal(text) {
    return text.replace(/\r\n?/g, "\n");
}
