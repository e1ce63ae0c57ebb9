// A keystore of a Node application: numbered AES-256-GCM keys in a JSON file, read once, at start.
// Arguments: the file. Reads {"op","value"} lines and writes one JSON line for each.
const { createCipheriv, createDecipheriv, randomBytes } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");

class Keystore {
  initialize(path) {
    const { currentVersion, keys } = JSON.parse(readFileSync(path, "utf8"));
    this.currentVersion = currentVersion;
    this.keys = new Map(Object.entries(keys));
    if (this.keys.get(String(currentVersion))?.status !== "active") throw new Error("not active");
  }

  keyOf(version) {
    const entry = this.keys.get(String(version));
    if (!entry) throw new Error(`no key ${version}`);
    if (entry.status === "retired") throw new Error(`key ${version} is retired`);
    if (Number.isNaN(new Date(entry.createdAt).getTime())) throw new Error("no time");
    return Buffer.from(entry.key, "hex");
  }

  encrypt(plaintext) {
    const keyVersion = this.currentVersion;
    const iv = randomBytes(16);
    const cipher = createCipheriv("aes-256-gcm", this.keyOf(keyVersion), iv);
    const ciphertext = cipher.update(plaintext, "utf8", "hex") + cipher.final("hex");
    const authTag = cipher.getAuthTag().toString("hex");
    return JSON.stringify({ keyVersion, iv: iv.toString("hex"), authTag, ciphertext });
  }

  decrypt(stored) {
    const { keyVersion, iv, authTag, ciphertext } = JSON.parse(stored);
    const key = this.keyOf(keyVersion);
    const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(iv, "hex"));
    decipher.setAuthTag(Buffer.from(authTag, "hex"));
    return decipher.update(ciphertext, "hex", "utf8") + decipher.final("utf8");
  }
}

const store = new Keystore();
store.initialize(process.argv[2]);
createInterface({ input: process.stdin }).on("line", (line) => {
  const { op, value } = JSON.parse(line);
  try {
    console.log(JSON.stringify(op === "encrypt" ? store.encrypt(value) : store.decrypt(value)));
  } catch (error) {
    console.log(JSON.stringify(`refused: ${error.message}`));
  }
});
