// An application with a keystore: numbered AES-256-GCM keys in a JSON file, read once, at start.
// Arguments: port, keystore. psql finds the database by PGHOST and so on. GET / answers every value,
// PUT /NUMBER stores one, and GET /keys answers the SHA-256 of the keystore that was read.
// With KEY_ROTATION=on it gives itself a new key at start, as its own scheduler would.
const { createCipheriv, createDecipheriv, createHash, randomBytes } = require("node:crypto");
const { execFileSync } = require("node:child_process");
const { readFileSync, writeFileSync } = require("node:fs");
const { createServer } = require("node:http");

class Keystore {
  initialize(path) {
    const text = readFileSync(path);
    this.hash = createHash("sha256").update(text).digest("hex");
    const { currentVersion, keys } = JSON.parse(text);
    this.currentVersion = currentVersion;
    this.keys = keys;
  }

  rotate(path) {
    const old = this.keys[this.currentVersion];
    const entry = { key: randomBytes(32).toString("hex"), createdAt: new Date().toISOString() };
    old.status = "decrypt-only";
    this.keys[++this.currentVersion] = { ...entry, status: "active" };
    const { currentVersion, keys } = this;
    writeFileSync(path, JSON.stringify({ currentVersion, keys }));
    this.initialize(path);
  }

  keyOf(version) {
    const entry = this.keys[version];
    if (!entry || entry.status === "retired") throw new Error(`no key ${version}`);
    return Buffer.from(entry.key, "hex");
  }

  encrypt(text) {
    const keyVersion = this.currentVersion;
    const iv = randomBytes(16);
    const cipher = createCipheriv("aes-256-gcm", this.keyOf(keyVersion), iv);
    const ciphertext = cipher.update(text, "utf8", "hex") + cipher.final("hex");
    const authTag = cipher.getAuthTag().toString("hex");
    return JSON.stringify({ keyVersion, iv: iv.toString("hex"), authTag, ciphertext });
  }

  decrypt(stored) {
    const { keyVersion, iv, authTag, ciphertext } = JSON.parse(stored);
    const decipher = createDecipheriv("aes-256-gcm", this.keyOf(keyVersion), Buffer.from(iv, "hex"));
    decipher.setAuthTag(Buffer.from(authTag, "hex"));
    return decipher.update(ciphertext, "hex", "utf8") + decipher.final("utf8");
  }
}

// The lines of the answer; :'name' in the statement is what is told under that name.
function sql(input, told = {}) {
  const variables = Object.entries(told).flatMap(([name, value]) => ["-v", `${name}=${value}`]);
  const options = ["-XqAt", "-v", "ON_ERROR_STOP=1", ...variables];
  return execFileSync("psql", options, { input, encoding: "utf8" }).split("\n").filter(Boolean);
}

function values(store) {
  return sql("select id, secret from posts order by id").map((line) => {
    const [id, stored] = line.split("|");
    try {
      return store.decrypt(stored);
    } catch (error) {
      throw new Error(`row ${id}: ${error.message}`);
    }
  });
}

function answer(store, { method, url }, body) {
  if (method === "PUT") {
    const statement = "insert into posts (id, secret) values (:'id', :'value')";
    sql(statement, { id: url.slice(1), value: store.encrypt(body) });
    return "";
  }
  return url === "/keys" ? store.hash : JSON.stringify(values(store));
}

const [port, path] = process.argv.slice(2);
const store = new Keystore();
store.initialize(path);
if (process.env.KEY_ROTATION === "on") store.rotate(path);
createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    try {
      response.end(answer(store, request, Buffer.concat(parts).toString()));
    } catch (error) {
      response.statusCode = 500;
      response.end(error.message);
    }
  });
}).listen(Number(port), "127.0.0.1");
